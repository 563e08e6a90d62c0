"""Reads a run from its logs: framework, settings, scalars, whether it is finished."""

import math
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnn_mnist.errors import UserError
from cnn_mnist.runs import tags
from cnn_mnist.runs.folder import ENVIRONMENT, KERAS, PYTORCH, STUDY, UNTIL_DECIDED, read_config
from cnn_mnist.runs.mistakes import Mistakes, read_mistakes
from keras_parity.logs.csv_files import is_csv_log, read_csv
from keras_parity.logs.event_files import Point, read_scalars
from keras_parity.logs.folders import PARTS
from keras_parity.settings import settings_that_matter

ALIASES: dict[str, tuple[str, ...]] = {
    # from stock Lightning loggers, Keras's stock callbacks, and TensorFlow writers named train and test
    "train/loss": ("train_loss_epoch", "train_loss", "train/epoch_loss"),
    "train/acc": (
        *("train_acc_epoch", "train_acc", "train_accuracy", "train/epoch_accuracy", "train/epoch_acc"),
        "train/accuracy",
    ),
    "val/loss": ("val_loss_epoch", "val_loss", "validation/epoch_loss"),
    "val/acc": ("val_acc_epoch", "val_acc", "val_accuracy", "validation/epoch_accuracy", "validation/epoch_acc"),
    "test/loss": ("test_loss_epoch", "test_loss"),
    "test/acc": ("test_acc_epoch", "test_acc", "test_accuracy", "test/accuracy"),
}

_LAST = {tags.tag("train", "loss"), tags.FIT_SECONDS, tags.tag("test", "acc")}
_TRAIN_EVAL = tags.tag("train_eval", "acc")
"""Tags that a finished run of this project has; the second unless its settings turn it off."""


@dataclass(frozen=True, repr=False)
class Run:
    """One run.

    Attributes:
        folder: The run folder or log file.
        framework: ``"keras"`` or ``"pytorch"``: the name of the parent folder, else the framework that writes such
            records.
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


def read_run(folder: str | Path, aliases: Mapping[str, tuple[str, ...]] = ALIASES, typed: Collection[str] = ()) -> Run:
    """Reads a run.

    Args:
        folder: The run folder, or one event or CSV file.
        aliases: Other names of this project's tags, the preferred first.
        typed: Tags whose first alias the user typed; that alias overrides the tag itself.

    Returns:
        The run; a log that cannot be read has no points, and a note.
    """
    folder = Path(folder)
    home = folder.parent if folder.is_file() else folder
    points: dict[str, Sequence[Point]] = {}
    keras, notes = False, list[str]()
    for place, part in (folder, home.name), *((folder / name, name) for name in PARTS):
        log = read_csv(place) if is_csv_log(place) else read_scalars(place)
        for tag, values in log.points.items():
            bare = part in PARTS and ("/" not in tag or tag in points)  # the folder names the split
            points[f"{part}/{tag}" if bare else tag] = values
        keras |= log.keras
        notes += log.notes
    if not (points or notes):
        notes.append(f"{folder} has no scalars")
    for tag, others in aliases.items():
        known = next((points[other] for other in others if other in points), None)
        if known is not None and (tag not in points or (tag in typed and others[0] in points)):
            points[tag] = known
    native, config = tags.PARAMETERS in points, read_config(home) or {}  # native: of this project
    groups = (config.get(group) or {} for group in ("model", "data", "trainer"))
    as_written = native and all(isinstance(group, dict) for group in groups)
    evaluates = not as_written or (config.get("data") or {}).get("train_eval", True)
    seed = config.pop("seed_everything", None)
    framework = home.parent.name
    if framework not in (KERAS, PYTORCH):
        framework = KERAS if keras else PYTORCH
    mistakes = None
    try:
        mistakes = read_mistakes(home) if native else None
    except UserError as error:
        notes.append(str(error))
    return Run(
        folder=folder,
        framework=framework,
        settings=settings_that_matter(config) if config and as_written else _flat(config),
        seed=seed if type(seed) is int else None,
        finished=not native or points.keys() >= (_LAST | {_TRAIN_EVAL} if evaluates else _LAST),
        mistakes=mistakes,
        clock="" if native else _take_times(points),
        points=points,
        notes=tuple(notes),
        looked_at=config.get(STUDY) == UNTIL_DECIDED,
        environment=_flat(read_config(home, ENVIRONMENT) or {}),
    )


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


def _take_times(points: dict[str, Sequence[Point]]) -> str:
    """Adds missing times to a log, from the wall times of its longest tag, and returns that tag."""
    clock = max(points, key=lambda tag: len(points[tag]), default="")
    if points.keys() & {tags.FIT_SECONDS, tags.EPOCH_SECONDS} or not clock:
        return ""
    first, last, count = points[clock][0], points[clock][-1], len(points[clock])
    seconds = last.wall_time - first.wall_time
    if count < 2 or seconds <= 0:
        return ""
    points[tags.FIT_SECONDS] = [last._replace(value=seconds * count / (count - 1))]  # the first interval is not logged
    if last.step - first.step >= count:  # otherwise the steps may be epochs
        points[tags.EPOCH_SECONDS] = [point._replace(value=seconds) for point in (first, last)]
    return clock


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
