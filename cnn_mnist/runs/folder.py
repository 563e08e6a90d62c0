"""What a run folder holds and the names of its tags: written by both trainers, read by ``compare``.

A run folder is ``lightning_logs/<pytorch|keras>/version_N`` with event files, ``config.yaml`` (all that is
needed to repeat the run), ``environment.yaml``, ``mistakes.csv`` and ``checkpoints/``. The step of every point is
the number of optimizer updates done so far; loss is in nats, accuracy a fraction in [0, 1], time in wall-clock seconds.
"""

import os
import platform
import subprocess
import tempfile
import warnings
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any

from cnn_mnist.errors import UserError, UserNotice
from cnn_mnist.frameworks import WAIT_POLICY
from cnn_mnist.runs.files import is_whole, write_whole
from cnn_mnist.yaml_files import load_yaml

LOG_DIR = "lightning_logs"
PYTORCH, KERAS = "pytorch", "keras"

ENDINGS = {PYTORCH: ".ckpt", KERAS: ".keras"}
"""Of the files in ``checkpoints/``."""

CONFIG, ENVIRONMENT, CHECKPOINTS = "config.yaml", "environment.yaml", "checkpoints"
HPARAMS = "hparams.yaml"
"""Where Lightning's own loggers keep the hyper-parameters of a run."""

RESULTS = "results.yaml"
"""The last figure of each tag: the last thing that a run of a command writes."""

STUDY, UNTIL_DECIDED = "study", "until=decided"
"""Key and value in the ``config.yaml`` of a run that a study looked at to see whether it may stop; no setting."""

_PACKAGES = ("torch", "lightning", "torchmetrics", "tensorflow", "keras", "tensorboard", "numpy")


def check_writable(folder: str | Path) -> None:
    """Raises ``UserError`` unless ``folder``, or the nearest one above it that exists, can be written."""
    nearest = next(path for path in (Path(folder), *Path(folder).absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise UserError(
            f"expected a folder for logs that can be written, got {folder} ({error.strerror}); name another"
        ) from None


def new_run_folder(log_dir: str | Path, framework: str) -> Path:
    """Makes the next ``version_N`` of a framework; two processes never get the same.

    Raises:
        UserError: The folder cannot be written.
    """
    check_writable(Path(log_dir, framework))
    taken = [int(path.name[8:]) for path in Path(log_dir, framework).glob("version_*") if path.name[8:].isdigit()]
    for number in count(max(taken, default=-1) + 1):
        folder = Path(log_dir, framework, f"version_{number}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


def newest_run(framework: str) -> Path:
    """The run of a framework with the highest version.

    Raises:
        UserError: There is none.
    """
    runs = {int(path.name[8:]): path for path in Path(LOG_DIR, framework).glob("version_*") if path.name[8:].isdigit()}
    if not runs:
        raise UserError(f"last: expected a run in {Path(LOG_DIR, framework)}, got none; name its folder")
    return runs[max(runs)]


def newest_checkpoint(folder: str | Path, *frameworks: str) -> Path | None:
    """The newest whole checkpoint of a run, those of the first framework first; None where there is none.

    Of a damaged one that is newer, a notice is given. Where all are damaged it is the newest, whose reader says why.
    """
    endings = [ENDINGS[framework] for framework in frameworks]
    files = [file for file in Path(folder, CHECKPOINTS).glob("[!.]*") if file.suffix in endings]
    files.sort(key=lambda file: (-endings.index(file.suffix), age(file)), reverse=True)
    if not files:
        return None
    good = next(filter(is_whole, files), files[0])
    for damaged in files[: files.index(good)]:
        warnings.warn(UserNotice(f"{damaged} is damaged; the one before is taken, {good.name}"), stacklevel=2)
    return good


def age(file: Path) -> tuple[float, int, str]:
    """What files of a run are sorted by, the oldest first; of two in one tick of the clock, step 8 before step 10."""
    return file.stat().st_mtime, len(file.name), file.name


def find_checkpoint(path: str | Path, framework: str) -> Path:
    """The newest checkpoint of a run folder, the framework's own first; what is no folder is given back as it is.

    ``"last"`` is the newest run of the framework.

    Raises:
        UserError: The folder holds none.
    """
    if not Path(path).exists() and str(path) in ("last", "best"):
        if str(path) == "best":
            raise UserError("--ckpt_path=best: a run keeps its newest checkpoint alone; name last, or a run folder")
        path = newest_run(framework)
    if not Path(path).is_dir():
        return Path(path)
    found = newest_checkpoint(path, framework, *ENDINGS)
    if found is None:
        raise UserError(
            f"expected a run folder with a {' or '.join(ENDINGS.values())} file in its {CHECKPOINTS} folder, "
            f"got {path}; name another, or the file itself"
        )
    return found


def environment(*, device: str, threads: int | None, precision: str | None) -> dict[str, Any]:
    """What a run's figures depend on and ``config.yaml`` does not say.

    Args:
        device: What trained, for example ``"cpu"`` or ``"NVIDIA H200"``.
        threads: CPU threads inside one operation.
        precision: As the trainer calls it, for example ``"32-true"``.
    """
    return {
        "device": device,
        "threads": threads,
        "precision": precision,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "openmp": {name: os.environ[name] for name in WAIT_POLICY if name in os.environ},
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
    }


def write_environment(folder: str | Path, **run: Any) -> None:
    """Writes ``environment.yaml`` into a run folder; the other arguments are those of ``environment``."""
    import yaml

    write_whole(Path(folder, ENVIRONMENT), yaml.safe_dump(environment(**run), sort_keys=False))


def read_config(folder: str | Path, name: str = CONFIG) -> dict[str, Any] | None:
    """The settings of a run as its ``config.yaml``, or another of its files, has them; None where none can be read."""
    import yaml

    try:
        config = load_yaml(Path(folder, name).read_bytes())
    except (OSError, ValueError, RecursionError, yaml.YAMLError):  # a ValueError is a date that is none
        return None
    return config if isinstance(config, dict) else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _commit() -> str | None:
    """The project's commit, with ``-dirty`` where files differ from it; None outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
