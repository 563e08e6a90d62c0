"""A trained run's settings and data against those of a command that uses it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnn_mnist.architecture.descriptions import read_network
from cnn_mnist.errors import UserError, notify
from cnn_mnist.runs.data_file import change_since


def differing(kept: Mapping[str, Any], typed: Mapping[str, Any]) -> list[str]:
    """Returns the flags of a run's settings that have another value in a command; both are by flag."""

    def same(flag: str, one: Any, other: Any) -> bool:
        return one == other or (flag == "model.architecture" and read_network(one) == read_network(other))

    return [flag for flag, value in kept.items() if not same(flag, value, typed[flag])]


def say_if_changed(folder: str | Path, file: str | None) -> None:
    """Gives a ``UserNotice`` if the data file of the run in a folder has changed since."""
    if change := change_since(folder, file):
        notify(f"{change}; results of the two do not compare")


def refuse_others(kept: Mapping[str, Any], typed: Mapping[str, Any], path: str | Path) -> None:
    """Refuses settings that contradict those of a checkpoint.

    Args:
        kept: The checkpoint's settings, by flag.
        typed: The command's settings, by flag.
        path: The checkpoint.

    Raises:
        UserError: A typed setting differs from the checkpoint's.
    """
    if flag := next(iter(differing(kept, typed)), None):
        raise UserError(
            f"--{flag}: {path} was trained with {kept[flag]}, got {typed[flag]}; omit the flag to use the "
            "checkpoint's, or omit --ckpt_path to train from scratch; `test` takes another data set"
        )


def say_if_no_twin(kept: Mapping[str, Any], typed: Mapping[str, Any], run: str | Path) -> None:
    """Gives a ``UserNotice`` that names the settings, by flag, in which a twin differs from its run."""
    every = dict.fromkeys([*kept, *typed])  # a setting at its default may be missing
    kept, typed = every | dict(kept), every | dict(typed)
    if differ := [f"{flag}={typed[flag]} (there {kept[flag]})" for flag in differing(kept, typed)]:
        notify(f"--twin_of: this is no twin of {run}: {', '.join(differ)}")
