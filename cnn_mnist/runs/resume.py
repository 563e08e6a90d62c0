"""Cuts the log of a resumed run back to its last checkpoint; the training writes the rest again."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cnn_mnist.errors import expect
from cnn_mnist.runs.files import atomic_write_text, lock_folder, remove_leftovers
from cnn_mnist.runs.folder import CHECKPOINTS, CONFIG, ENVIRONMENT, RESULTS, read_config
from cnn_mnist.runs.recorder import is_marked

_EVENTS = "events.out.tfevents*"


def _event_files(folder: str | Path) -> list[Path]:
    """Finds the event files of a run that this project wrote, not a user's own."""
    return [file for file in Path(folder).glob(_EVENTS) if is_marked(file)]


def log_sizes(folder: str | Path) -> dict[str, int]:
    """Syncs the event files of a run to disk and returns the size of each in bytes, for a checkpoint."""
    sizes = {}
    for file in _event_files(folder):
        with file.open("rb") as content:
            os.fsync(content.fileno())
            sizes[file.name] = os.stat(content.fileno()).st_size
    return sizes


def rewind(
    folder: str | Path, checkpoint: Path | None, state: Mapping[str, Any] | None, max_epochs: int | None
) -> None:
    """Cuts a run's log back to its newest checkpoint, or empties it if there is no checkpoint.

    Event files that this project did not write stay as they are.

    Call it when nothing else can refuse the training any more.

    Args:
        folder: The run folder.
        checkpoint: The newest checkpoint.
        state: Run state in the checkpoint, with the sizes of the event files.
        max_epochs: Epochs to train, saved in the run's settings.

    Raises:
        UserError: The checkpoint has no run state, the log is shorter than recorded, or another process trains the run.
    """
    with lock_folder(folder):
        pass
    known, remedy = checkpoint is None or state is not None, "resume in a new folder with --ckpt_path"
    expect("--resume", known, "a checkpoint that records the length of the log", f"{checkpoint}; {remedy}")
    sizes = state["log"] if state else {}
    files = {file.name: file for file in _event_files(folder)}
    for name, size in sizes.items():
        whole = name in files and files[name].stat().st_size >= size
        fewer = "fewer; start a new run, or continue in a new folder with --ckpt_path"
        expect("--resume", whole, f"{size} bytes of log in {Path(folder, name)}", fewer)
    for name, file in files.items():
        if name in sizes:
            os.truncate(file, sizes[name])
        else:
            file.unlink()
    Path(folder, RESULTS).unlink(missing_ok=True)
    if not sizes:
        Path(folder, ENVIRONMENT).unlink(missing_ok=True)
    remove_leftovers(Path(folder, CHECKPOINTS))
    config = read_config(folder) or {}
    if config["trainer"].get("max_epochs") != max_epochs:
        longer = config | {"trainer": config["trainer"] | {"max_epochs": max_epochs}}
        atomic_write_text(Path(folder, CONFIG), yaml.safe_dump(longer, sort_keys=False))
