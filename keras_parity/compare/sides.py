"""What makes the columns of a table: the framework, or with ``--by`` a setting, the environment or the folder."""

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_mnist.errors import UserError, nearest
from cnn_mnist.runs.folder import KERAS, PYTORCH
from keras_parity.logs.run import Run, hashable

TITLES = {KERAS: "Keras", PYTORCH: "PyTorch"}

_FOLDER, _ENVIRONMENT = "folder", "environment."


def sides(found: Sequence[Run], by: str) -> dict[Path, tuple[Hashable, str]]:
    """What each run has of what makes the columns, and the title of its column, by folder.

    Args:
        found: The runs.
        by: Empty for the framework, a setting, ``"environment.NAME"``, or ``"folder"``: the first part of their paths
            in which not all agree.

    Raises:
        UserError: The runs have no such thing, or not two values of it.
    """
    if not by:
        return {run.folder: (run.framework, TITLES[run.framework]) for run in found}
    known = {_FOLDER}.union(*(told(run) for run in found))
    if by not in known:
        raise UserError(
            f"--by: expected {_FOLDER}, or a setting or {_ENVIRONMENT}NAME of these runs, got {by}{nearest(by, known)}"
        )
    paths = [os.path.abspath(run.folder) for run in found]
    root = os.path.commonpath(paths)
    split = {}
    for run, path in zip(found, paths, strict=True):
        value = Path(path).relative_to(root).parts[:1] if by == _FOLDER else told(run).get(by, "-")
        split[run.folder] = hashable(value), value[0] if by == _FOLDER and value else f"{short([by])[0]}={value}"
    if len({value for value, _ in split.values()}) < 2:
        raise UserError(f"--by: expected runs that differ in {by}, got only {next(iter(split.values()))[1]}")
    return split


def told(run: Run) -> dict[str, Any]:
    """All that is known of a run's settings and environment, by the names that ``--by`` takes."""
    return run.settings | {f"{_ENVIRONMENT}{name}": value for name, value in run.environment.items()}


def rest(run: Run, by: str) -> dict[str, Any]:
    """What the runs of a column share beside it: the other settings, and the framework where that is no side."""
    others = {name: value for name, value in run.settings.items() if name != by}
    return others | {"framework": TITLES[run.framework]} if by else others


def short(names: Sequence[str]) -> list[str]:
    """Names without their groups, as far as those tell nothing apart."""
    bare = [name.rpartition(".")[2] for name in names]
    return bare if len(set(bare)) == len(bare) else list(names)


def differing(settings: Sequence[Mapping[str, object]]) -> list[str]:
    """The names of the settings that are not the same in all."""
    names = sorted({name for values in settings for name in values})
    return [name for name in names if any(values.get(name, "-") != settings[0].get(name, "-") for values in settings)]
