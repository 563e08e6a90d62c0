"""Splits runs into columns: by framework, or with ``--by`` by a setting, the environment or the folder."""

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_mnist.errors import UserError, expect, nearest
from cnn_mnist.runs.folder import KERAS, KERAS_JAX, KERAS_TORCH, PYTORCH
from keras_parity.logs.run import Run, hashable

TITLES = {KERAS: "Keras", KERAS_JAX: "Keras on JAX", KERAS_TORCH: "Keras on PyTorch", PYTORCH: "PyTorch"}

_FOLDER, _ENVIRONMENT = "folder", "environment."


def sides(found: Sequence[Run], by: str) -> dict[Path, tuple[Hashable, str]]:
    """Finds the side of each run: the framework, or the value of ``by``.

    Args:
        found: The runs.
        by: Empty for the framework, a setting, ``"environment.NAME"``, or ``"folder"``: the first part of their paths
            in which the runs differ.

    Returns:
        For each run folder, the value, and the title of its column.

    Raises:
        UserError: No run has this setting, or all have the same value.
    """
    if not by:
        return {run.folder: (run.framework, TITLES[run.framework]) for run in found}
    known = {_FOLDER}.union(*(known_settings(run) for run in found))
    choice = f"{_FOLDER}, or a setting or {_ENVIRONMENT}NAME of these runs"
    expect("--by", by in known, choice, f"{by}{nearest(by, known)}")
    paths = [os.path.abspath(run.folder) for run in found]
    root = os.path.commonpath(paths)
    split = {}
    for run, path in zip(found, paths, strict=True):
        value = Path(path).relative_to(root).parts[:1] if by == _FOLDER else known_settings(run).get(by, "-")
        split[run.folder] = hashable(value), value[0] if by == _FOLDER and value else f"{short_names([by])[0]}={value}"
    if len({value for value, _ in split.values()}) < 2:
        raise UserError(f"--by: expected runs that differ in {by}, got only {next(iter(split.values()))[1]}")
    return split


def known_settings(run: Run) -> dict[str, Any]:
    """The settings and the environment of a run, by the names that ``--by`` takes."""
    return run.settings | {f"{_ENVIRONMENT}{name}": value for name, value in run.environment.items()}


def shared(run: Run, by: str) -> dict[str, Any]:
    """What the runs of one table share: all settings but ``by``, and with ``by`` the framework."""
    others = {name: value for name, value in run.settings.items() if name != by}
    return others | {"framework": TITLES[run.framework]} if by else others


def short_names(names: Sequence[str]) -> list[str]:
    """The names without their groups, unless two names would then be equal."""
    bare = [name.rpartition(".")[2] for name in names]
    return bare if len(set(bare)) == len(bare) else list(names)


def differing(settings: Sequence[Mapping[str, object]]) -> list[str]:
    """The names of the settings that differ."""
    names = sorted({name for values in settings for name in values})
    return [name for name in names if any(values.get(name, "-") != settings[0].get(name, "-") for values in settings)]
