"""Run folders: creation, settings and checkpoints.

It is ``lightning_logs/FRAMEWORK/version_N`` and holds event files, settings, environment and checkpoints.
"""

import re
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from cnn_mnist.errors import UserError, expect, notify
from cnn_mnist.runs.files import check_writable, zip_is_intact
from cnn_mnist.untrusted import read_text
from cnn_mnist.yaml_files import load_yaml

LOG_DIR = "lightning_logs"
KERAS, KERAS_JAX, KERAS_TORCH, PYTORCH = FRAMEWORKS = "keras", "keras_jax", "keras_torch", "pytorch"
"""Names of the frameworks, in the order of the columns; each is also the folder of its runs."""

ENDINGS = {PYTORCH: ".ckpt", KERAS: ".keras"}
"""Endings of checkpoints by framework; Keras's is the same with each backend."""

CONFIG, ENVIRONMENT, CHECKPOINTS = "config.yaml", "environment.yaml", "checkpoints"
HPARAMS = "hparams.yaml"
"""Where Lightning's own loggers keep the hyper-parameters of a run."""

RESULTS = "results.yaml"
"""The last value of each tag; a command writes this file last."""

STUDY, UNTIL_DECIDED = "study", "until=decided"
"""Key and value in the ``config.yaml`` of a run of a study with ``--until=decided``; not a setting."""


def new_run_folder(log_dir: str | Path, framework: str) -> Path:
    """Creates the next ``version_N`` of a framework; each process gets its own.

    Args:
        log_dir: The log folder.
        framework: One of ``FRAMEWORKS``.

    Returns:
        The new folder.

    Raises:
        UserError: The log folder is not writable.
    """
    check_writable(Path(log_dir, framework))
    for number in count(max(_versions(log_dir, framework), default=-1) + 1):
        folder = Path(log_dir, framework, f"version_{number}")
        with suppress(FileExistsError):
            folder.mkdir(parents=True)
            break
    return folder


def newest_run(framework: str) -> Path:
    """Returns the run of a framework with the highest version.

    Raises:
        UserError: There is no run.
    """
    runs = _versions(LOG_DIR, framework)
    expect("last", bool(runs), f"a run in {Path(LOG_DIR, framework)}", "none; name a run folder")
    return runs[max(runs)]


def _versions(log_dir: str | Path, framework: str) -> dict[int, Path]:
    return {int(path.name[8:]): path for path in Path(log_dir, framework).glob("version_*") if path.name[8:].isdigit()}


def checkpoints(folder: str | Path, *frameworks: str) -> list[Path]:
    """Returns the checkpoints of a run, the newest first; those of some frameworks, in their order, or of all."""
    endings = [ending(framework) for framework in frameworks or ENDINGS]
    files = (file for file in Path(folder, CHECKPOINTS).glob("[!.]*") if file.suffix in endings)
    return sorted(files, key=lambda file: (-endings.index(file.suffix), age(file)), reverse=True)


def newest_checkpoint(folder: str | Path, *frameworks: str) -> Path | None:
    """Finds the newest intact checkpoint of a run, with a notice about newer damaged ones.

    Args:
        folder: The run folder.
        *frameworks: Frameworks of the checkpoints, the preferred one first.

    Returns:
        The file; the newest if all are damaged; None without checkpoints.
    """
    if not (files := checkpoints(folder, *frameworks)):
        return None
    good = next(filter(zip_is_intact, files), files[0])
    for damaged in files[: files.index(good)]:
        notify(f"{damaged} is damaged; using the one before it, {good.name}")
    return good


def ending(framework: str) -> str:
    """The ending of a framework's checkpoints."""
    return ENDINGS[PYTORCH if framework == PYTORCH else KERAS]


def age(file: Path) -> tuple[float, int, str]:
    """Sort key of a run's files, the oldest first; at equal times step 8 comes before step 10."""
    return file.stat().st_mtime, len(file.name), file.name


def step_of(checkpoint: Path) -> int | None:
    """Returns the number of updates in the name of a checkpoint; None if the name has none."""
    found = re.search(r"step=(\d+)", checkpoint.name)
    return int(found[1]) if found else None


def find_checkpoint(path: str | Path, framework: str) -> Path:
    """Finds the checkpoint that ``--ckpt_path`` names.

    Args:
        path: A file, a run folder, or ``"last"`` for the newest run of the framework.
        framework: Its checkpoints are preferred to the other framework's.

    Returns:
        The file, or the newest checkpoint in the run folder.

    Raises:
        UserError: The path does not exist, or the folder has no checkpoint.
    """
    if not Path(path).exists() and str(path) in ("last", "best"):
        if str(path) == "best":
            raise UserError("--ckpt_path=best: expected a run folder or last; a run keeps only its newest checkpoint")
        path = newest_run(framework)
    if not Path(path).exists():
        raise UserError(f"expected a run folder or a checkpoint file, got {path}, which does not exist")
    if not Path(path).is_dir():
        return Path(path)
    found = newest_checkpoint(path, framework, *ENDINGS)
    if found is None:
        wanted = f"a run folder with a {' or '.join(ENDINGS.values())} file in its {CHECKPOINTS} folder"
        raise UserError(f"expected {wanted}, got {path}; choose another, or name the file")
    return found


def read_config(folder: str | Path, name: str = CONFIG) -> dict[str, Any] | None:
    """Reads ``config.yaml`` or another YAML file of a run; None if it is missing, damaged or not a mapping."""
    import yaml

    try:
        config = load_yaml(read_text(Path(folder, name)))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):  # an impossible date raises ValueError
        return None
    return config if isinstance(config, dict) else None


def read_settings(folder: str | Path) -> dict[str, Any] | None:
    """Reads the ``config.yaml`` of a run of this project; None if it is missing, damaged or of other code."""
    config = read_config(folder)
    groups = (config.get(group) or {} for group in ("model", "data", "trainer")) if config else ()
    return config if all(isinstance(group, dict) for group in groups) else None
