"""Hardware, versions and other influences on a run: its ``environment.yaml``."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cnn_mnist.frameworks import WAIT_POLICY
from cnn_mnist.runs.data_file import DATA_HASH, data_hash
from cnn_mnist.runs.files import atomic_write_text
from cnn_mnist.runs.folder import ENVIRONMENT

_PACKAGES = ("torch", "lightning", "torchmetrics", "tensorflow", "jax", "keras", "tensorboard", "numpy")


def usable_cores() -> int:
    """The cores that this process may use; frameworks take as many threads."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def environment(
    *, device: str, devices: int = 1, threads: int | None, precision: str | None, data_file: str | None = None
) -> dict[str, Any]:
    """Collects hardware, versions and other influences on a run that ``config.yaml`` does not contain.

    Args:
        device: Device of the training, for example ``"cpu"`` or ``"NVIDIA H200"``.
        devices: Number of such devices that share a batch.
        threads: CPU threads inside one operation.
        precision: The trainer's name of it, for example ``"32-true"``.
        data_file: The user's own data file.
    """
    hashed = data_hash(data_file)
    return {
        "device": device if devices == 1 else f"{devices} x {device}",
        "threads": threads,
        "precision": precision,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "openmp": {name: os.environ[name] for name in WAIT_POLICY if name in os.environ},
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
    } | ({DATA_HASH: hashed} if hashed else {})


def write_environment(folder: str | Path, **run: Any) -> None:
    """Writes ``environment.yaml`` into a run folder; ``run`` has the arguments of ``environment``."""
    import yaml

    atomic_write_text(Path(folder, ENVIRONMENT), yaml.safe_dump(environment(**run), sort_keys=False))


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
    """Returns the project's commit, with ``-dirty`` if files were changed; None outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
