"""Runs as their logs tell them: which framework, which settings, which scalars, whether finished."""

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnn_mnist.errors import UserError
from cnn_mnist.runs import tags
from cnn_mnist.runs.folder import CONFIG, ENVIRONMENT, HPARAMS, STUDY, UNTIL_DECIDED, read_config
from cnn_mnist.runs.mistakes import Mistakes, read_mistakes
from keras_parity.logs.points import Point
from keras_parity.logs.run_points import ALIASES, apply_aliases, read_points, take_times
from keras_parity.settings import settings_that_matter

_LAST = {tags.tag("train", "loss"), tags.FIT_SECONDS, tags.tag("test", "acc")}
_TRAIN_EVAL = tags.tag("train_eval", "acc")
"""Tags that a finished run of this project has; the second where its settings do not leave it out."""


@dataclass(frozen=True, repr=False)
class Run:
    """One run.

    Attributes:
        folder: Where it lies.
        framework: ``"keras"`` or ``"pytorch"``: of the folder above if it is called so, else of the first record.
        settings: What must be the same where runs are averaged, by name; the seed is left out. Somebody else's
            ``config.yaml`` is taken as it is. Empty for a log without one.
        seed: The run's seed; None where it is not known.
        points: By tag of the contract, ascending by step.
        finished: Whether the last thing that a run writes is there.
        mistakes: Its misclassified test images; None where they are not known.
        notes: What is wrong with its files, one line each.
        clock: The tag whose wall times gave its times, where the log itself holds none; empty where it does.
        looked_at: Whether it is of a study that stops when it has decided.
        environment: What it ran on, by name, ``"packages.torch"`` too; empty where that is not known.
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

    @property
    def started(self) -> float:
        """Wall time of the first point, in seconds since 1970."""
        return min((points[0].wall_time for points in self.points.values()), default=0.0)

    @property
    def partner(self) -> Hashable:
        """What pairs it with a run of another column: its seed; where that is not known, nothing but itself does."""
        return self.folder if self.seed is None else self.seed

    def last(self, tag: str) -> float | None:
        """The last value of a tag; None where the run has none."""
        points = self.points.get(tag)
        return points[-1].value if points else None

    def __repr__(self) -> str:
        seed = "seed unknown" if self.seed is None else f"seed {self.seed}"
        return f"Run({self.folder}, {self.framework}, {seed}, {'finished' if self.finished else 'unfinished'})"


def read_run(folder: str | Path, aliases: Mapping[str, tuple[str, ...]] = ALIASES, typed: Collection[str] = ()) -> Run:
    """Reads a run.

    Args:
        folder: The run folder, or one event or CSV file.
        aliases: Tag of the contract to the names that others give it, the best first.
        typed: Tags whose first alias the user typed; it wins over the tag itself.
    """
    folder = Path(folder)
    home = folder.parent if folder.is_file() else folder
    points, notes, framework = read_points(folder, home.name)
    apply_aliases(points, aliases, typed)
    ours, config = tags.PARAMETERS in points, _read_settings(home, notes)
    groups = (config.get(group) or {} for group in ("model", "data", "trainer"))
    as_written = ours and all(isinstance(group, dict) for group in groups)
    evaluates = not as_written or (config.get("data") or {}).get("train_eval", True)
    seeds = [config.pop(name, None) for name in ("seed_everything", "seed")]
    seed = next((seed for seed in seeds if type(seed) is int), None)
    mistakes = None
    try:
        mistakes = read_mistakes(home) if ours else None
    except UserError as error:
        notes.append(str(error))
    return Run(
        folder=folder,
        framework=framework,
        settings=settings_that_matter(config) if config and as_written else _flat(config),
        seed=seed,
        finished=not ours or points.keys() >= (_LAST | {_TRAIN_EVAL} if evaluates else _LAST),
        mistakes=mistakes,
        clock="" if ours else take_times(points),
        points=points,
        notes=tuple(notes),
        looked_at=config.get(STUDY) == UNTIL_DECIDED,
        environment=_flat(read_config(home, ENVIRONMENT) or {}),
    )


def _read_settings(home: Path, notes: list[str]) -> dict[str, Any]:
    """The settings beside a log, of our own runs or as Lightning's loggers write them."""
    for name in (CONFIG, HPARAMS):
        config = read_config(home, name)
        if config is None and (home / name).is_file() and (home / name).stat().st_size:
            notes.append(f"{home / name} is no plain YAML of settings; it is left out")
        if config:
            return config
    return {}


def newest_pair(found: Iterable[Run]) -> list[Run]:
    """The newest finished run of each framework that share settings.

    Where none do, the newest of each; where only one framework has any, its newest.
    """
    newest = _oldest_first([run for run in found if run.finished])[::-1]
    for run in newest:
        for other in newest:
            if other.framework != run.framework and (other.settings, other.seed) == (run.settings, run.seed):
                return [run, other]
    firsts = {run.framework: run for run in reversed(newest)}
    return list(firsts.values())


def _oldest_first(found: Sequence[Run]) -> list[Run]:
    """By when they began; no run is older than one of a lower version beside it, whatever the clock said."""
    version = lambda run: (len(run.folder.name), run.folder.name)  # noqa: E731 - version_9 before version_10
    began: dict[Path, float] = {}
    keys = {}
    for run in sorted(found, key=version):
        beside = run.folder.parent
        began[beside] = max(began.get(beside, run.started), run.started)
        keys[id(run)] = began[beside], version(run)
    return sorted(found, key=lambda run: keys[id(run)])


def newest_by_seed(found: Sequence[Run]) -> list[Run]:
    """The runs without those whose seed has run again later, which tell little new."""
    newest = {run.partner: run.folder for run in _oldest_first(found)}
    return [run for run in found if run.folder == newest[run.partner]]


def _flat(config: Mapping[Any, Any], group: str = "") -> dict[str, Any]:
    """Somebody else's settings, by the names of their groups with dots; what is no number is text."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{group}{name}.")
        else:
            flat[f"{group}{name}"] = value if isinstance(value, int | float) and math.isfinite(value) else str(value)
    return flat


def hashable(value: Any) -> Hashable:
    """A setting, or several, as what runs are grouped by: equal where they are, 64 and 64.0 too."""
    if isinstance(value, Mapping):
        return frozenset((name, hashable(inner)) for name, inner in value.items())
    return tuple(map(hashable, value)) if isinstance(value, list | tuple) else value
