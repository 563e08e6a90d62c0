"""The log of a run that goes on: what came behind its last checkpoint is taken off, and will come again."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn_mnist.errors import UserError
from cnn_mnist.runs.files import lock_folder
from cnn_mnist.runs.folder import CHECKPOINTS, ENVIRONMENT, RESULTS

_EVENTS = "events.out.tfevents*"


def log_sizes(folder: str | Path) -> dict[str, int]:
    """Bytes of each event file of a run, on the disk from here on: a checkpoint tells them."""
    sizes = {}
    for file in Path(folder).glob(_EVENTS):
        with file.open("rb") as content:
            os.fsync(content.fileno())
            sizes[file.name] = os.stat(content.fileno()).st_size
    return sizes


def rewind(folder: str | Path, checkpoint: Path | None, state: Mapping[str, Any] | None) -> None:
    """Takes a run's log back to where its newest checkpoint was written; without one, the run to its beginning.

    Args:
        folder: The run's.
        checkpoint: The file.
        state: What it holds of the run.

    Raises:
        UserError: It holds nothing, the log is shorter than it was then, or the run is at work elsewhere.
    """
    with lock_folder(folder):
        pass
    if checkpoint is not None and state is None:
        raise UserError(
            f"--resume: expected a checkpoint that records the length of the log, got {checkpoint}; resume in a new "
            "folder with --ckpt_path"
        )
    sizes = state["log"] if state else {}
    files = {file.name: file for file in Path(folder).glob(_EVENTS)}
    for name, size in sizes.items():
        if name not in files or files[name].stat().st_size < size:
            raise UserError(
                f"--resume: expected {size} bytes of log in {Path(folder, name)}, got fewer; train anew, or go on in a "
                "new folder with --ckpt_path"
            )
    for name, file in files.items():
        if name in sizes:
            os.truncate(file, sizes[name])
        else:
            file.unlink()
    Path(folder, RESULTS).unlink(missing_ok=True)
    if not sizes:
        Path(folder, ENVIRONMENT).unlink(missing_ok=True)
    for half in Path(folder, CHECKPOINTS).glob(".*"):  # of a process that was killed while it wrote
        shutil.rmtree(half)
