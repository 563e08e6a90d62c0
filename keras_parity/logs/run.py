"""Reads a run from its logs: framework, settings, scalars, whether it is finished."""

import math
import os
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnn_mnist.errors import UserError
from cnn_mnist.runs import tags
from cnn_mnist.runs.data_file import DATA_HASH
from cnn_mnist.runs.folder import CONFIG, ENVIRONMENT, HPARAMS, STUDY, UNTIL_DECIDED, read_config
from cnn_mnist.runs.mistakes import Mistakes, read_mistakes
from keras_parity.logs.points import Point
from keras_parity.logs.run_points import ALIASES, apply_aliases, read_points, take_times
from keras_parity.settings import settings_that_matter

_LAST = {tags.tag("train", "loss"), tags.FIT_SECONDS, tags.tag("test", "acc")}
_TRAIN_EVAL = tags.tag("train_eval", "acc")
"""Tags that a finished run of this project has; the second unless its settings turn it off."""


@dataclass(frozen=True, repr=False)
class Run:
    """One run.

    Attributes:
        folder: The run folder or log file.
        framework: One of ``FRAMEWORKS``: the framework in the path, else that of the first record's writer.
        settings: The settings that averaged runs must share, by name, without the seed. The ``config.yaml`` of other
            code is used unchanged. Empty without a ``config.yaml``.
        seed: The run's seed; None if unknown.
        points: The points of each tag, in ascending order.
        finished: Whether the last figures of a run are there.
        mistakes: The misclassified test images; None if unknown.
        notes: The defects of the run's files, one line each.
        clock: The tag whose wall times gave the run's times; empty if the log has times.
        looked_at: Whether a study with ``--until=decided`` looked at the run.
        environment: Hardware and versions, by name, such as ``"packages.torch"``; empty if unknown.
        assumed: What the framework was taken from, in a line; empty if the path names it.
    """

    folder: Path
    framework: str
    settings: dict[str, Any]
    seed: int | None
    points: Mapping[str, Sequence[Point]]
    finished: bool
    mistakes: Mistakes | None
    notes: tuple[str, ...] = ()
    clock: str = ""
    looked_at: bool = False
    environment: Mapping[str, Any] = field(default_factory=dict)
    assumed: str = ""

    @property
    def started(self) -> float:
        """Wall time of the first point, in seconds since 1970; 0 without points."""
        return min((points[0].wall_time for points in self.points.values()), default=0.0)

    @property
    def partner(self) -> Hashable:
        """What pairs the run with a run of another column: its seed; a run without a seed has no partner."""
        return self.folder if self.seed is None else self.seed

    def last(self, tag: str) -> float | None:
        """The last value of a tag; None if the run does not have it."""
        points = self.points.get(tag)
        return points[-1].value if points else None

    def __repr__(self) -> str:
        seed = "seed unknown" if self.seed is None else f"seed {self.seed}"
        return f"Run({self.folder}, {self.framework}, {seed}, {'finished' if self.finished else 'unfinished'})"


def read_run(
    folder: str | Path,
    aliases: Mapping[str, tuple[str, ...]] = ALIASES,
    typed: Collection[str] = (),
    root: Path | None = None,
) -> Run:
    """Reads a run.

    Args:
        folder: The run folder, or one event or CSV file.
        aliases: Other names of this project's tags, the preferred first.
        typed: Tags whose first alias the user typed; that alias overrides the tag itself.
        root: The folder in which the run was found, absolute; names below it tell the framework.

    Returns:
        The run; a log that cannot be read has no points, and a note.
    """
    folder = Path(folder)
    home = folder.parent if folder.is_file() else folder
    points, notes, framework, assumed = read_points(folder, home.name, root or Path(os.path.abspath(folder)))
    apply_aliases(points, aliases, typed)
    native, config = tags.PARAMETERS in points, _read_settings(home, notes)  # native: of this project
    groups = (config.get(group) or {} for group in ("model", "data", "trainer"))
    as_written = native and all(isinstance(group, dict) for group in groups)
    evaluates = not as_written or (config.get("data") or {}).get("train_eval", True)
    seeds = [config.pop(name, None) for name in ("seed_everything", "seed")]
    seed = next((seed for seed in seeds if type(seed) is int), None)
    environment, settings = _flat(read_config(home, ENVIRONMENT) or {}), _flat(config)
    if config and as_written:
        settings = settings_that_matter(config, environment.pop(DATA_HASH, None))
    mistakes = None
    try:
        mistakes = read_mistakes(home) if native else None
    except UserError as error:
        notes.append(str(error))
    return Run(
        folder=folder,
        framework=framework,
        settings=settings,
        seed=seed,
        finished=not native or points.keys() >= (_LAST | {_TRAIN_EVAL} if evaluates else _LAST),
        mistakes=mistakes,
        clock="" if native else take_times(points),
        points=points,
        notes=tuple(notes),
        looked_at=config.get(STUDY) == UNTIL_DECIDED,
        environment=environment,
        assumed=assumed,
    )


def _read_settings(home: Path, notes: list[str]) -> dict[str, Any]:
    """Reads the settings next to a log, as written by this project or by Lightning's loggers."""
    for name in (CONFIG, HPARAMS):
        config = read_config(home, name)
        if config is None and (home / name).is_file() and (home / name).stat().st_size:
            notes.append(f"{home / name} is no plain YAML of settings; it is left out")
        if config:
            return config
    return {}


def newest_pair(found: Iterable[Run]) -> list[Run]:
    """Selects the newest finished runs, one of each framework, that share settings and seed.

    Args:
        found: The runs.

    Returns:
        The pair; without such a pair, the newest finished run of each framework that has one.
    """
    newest = _oldest_first([run for run in found if run.finished])[::-1]
    for run in newest:
        for other in newest:
            if other.framework != run.framework and (other.settings, other.seed) == (run.settings, run.seed):
                return [run, other]
    firsts = {run.framework: run for run in reversed(newest)}
    return list(firsts.values())


def _oldest_first(found: Sequence[Run]) -> list[Run]:
    """Sorted by start; in one folder, a higher version counts as newer, whatever the clock said."""
    version = lambda run: (len(run.folder.name), run.folder.name)  # noqa: E731 - version_9 before version_10
    began: dict[Path, float] = {}
    keys = {}
    for run in sorted(found, key=version):
        parent = run.folder.parent
        began[parent] = max(began.get(parent, run.started), run.started)
        keys[id(run)] = began[parent], version(run)
    return sorted(found, key=lambda run: keys[id(run)])


def newest_by_seed(found: Sequence[Run]) -> list[Run]:
    """The newest run of each seed: a repeated seed adds no information."""
    newest = {run.partner: run.folder for run in _oldest_first(found)}
    return [run for run in found if run.folder == newest[run.partner]]


def _flat(config: Mapping[Any, Any], group: str = "") -> dict[str, Any]:
    """The settings of other code, with dots between groups and names; all but numbers become text."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{group}{name}.")
        else:
            flat[f"{group}{name}"] = value if isinstance(value, int | float) and math.isfinite(value) else str(value)
    return flat


def hashable(value: Any) -> Hashable:
    """A setting, or several, as a key: equal settings, such as 64 and 64.0, have equal keys."""
    if isinstance(value, Mapping):
        return frozenset((name, hashable(inner)) for name, inner in value.items())
    return tuple(map(hashable, value)) if isinstance(value, list | tuple) else value
