"""Runs as their logs tell them: which framework, which settings, which scalars, whether finished."""

from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

from cnn_mnist.errors import UserError
from cnn_mnist.runs import tags
from cnn_mnist.runs.folder import KERAS, LOG_DIR, PYTORCH, read_config
from cnn_mnist.runs.mistakes import Mistakes, read_mistakes
from keras_parity.logs.event_files import PATTERN, Point, read_scalars
from keras_parity.settings import settings_that_matter

ALIASES: dict[str, tuple[str, ...]] = {
    # of a stock Lightning TensorBoardLogger, and of Keras's stock TensorBoard callback
    "train/loss": ("train_loss_epoch", "train_loss", "train/epoch_loss"),
    "train/acc": ("train_acc_epoch", "train_acc", "train_accuracy", "train/epoch_accuracy", "train/epoch_acc"),
    "val/loss": ("val_loss_epoch", "val_loss", "validation/epoch_loss"),
    "val/acc": ("val_acc_epoch", "val_acc", "val_accuracy", "validation/epoch_accuracy", "validation/epoch_acc"),
    "test/loss": ("test_loss_epoch", "test_loss"),
    "test/acc": ("test_acc_epoch", "test_acc", "test_accuracy"),
    tags.PARAMETERS: ("model/parameters",),  # as this project wrote it at first
}

_LAST = {tags.tag("train", "loss"), tags.FIT_SECONDS, tags.tag("test", "acc"), tags.tag("train_eval", "acc")}
"""Tags that a finished run of this project has."""

_STOCK_KERAS_FOLDERS = ("train", "validation")


@dataclass(frozen=True, repr=False)
class Run:
    """One run.

    Attributes:
        folder: Where it lies.
        framework: ``"keras"`` or ``"pytorch"``: the folder above if it is called so, else who writes such records.
        settings: What must be the same where runs are averaged, by name; the seed is left out. Empty for a log
            without ``config.yaml``.
        seed: The run's seed; None where it is not known.
        points: By tag of the contract, ascending by step.
        finished: Whether the last thing that a run writes is there.
        mistakes: Its misclassified test images; None where they are not known.
    """

    folder: Path
    framework: str
    settings: dict[str, Any]
    seed: int | None
    points: dict[str, list[Point]]
    finished: bool
    mistakes: Mistakes | None

    @property
    def experiment(self) -> Hashable:
        """The settings as what runs are grouped by: equal where they are, 64 and 64.0 too."""
        return _hashable(self.settings)

    @property
    def started(self) -> float:
        """Wall time of the first point, in seconds since 1970."""
        return min((points[0].wall_time for points in self.points.values()), default=0.0)

    def last(self, tag: str) -> float | None:
        """The last value of a tag; None where the run has none."""
        points = self.points.get(tag)
        return points[-1].value if points else None

    def __repr__(self) -> str:
        seed = "seed unknown" if self.seed is None else f"seed {self.seed}"
        return f"Run({self.folder}, {self.framework}, {seed}, {'finished' if self.finished else 'unfinished'})"


def find_folders(patterns: Iterable[str]) -> list[Path]:
    """The run folders that the user names.

    Args:
        patterns: Folders, event files or globs.

    Raises:
        UserError: One of them names none.
    """
    folders: dict[Path, Path] = {}
    for pattern in patterns:
        logs = [path for path in map(Path, sorted(glob(pattern))) if path.is_file() or _holds_log(path)]
        if not logs:
            raise UserError(f"expected a run folder with event files, got {pattern}; see {LOG_DIR}/*/version_*")
        folders |= {path.resolve(): path for path in logs if path.resolve() not in folders}
    return list(folders.values())


def all_folders(log_dir: str | Path = LOG_DIR) -> list[Path]:
    """Every run folder of the contract under ``log_dir``."""
    places = (Path(log_dir, framework) for framework in (KERAS, PYTORCH))
    return [path for place in places for path in sorted(place.glob("version_*")) if _holds_log(path)]


def read_run(folder: str | Path, aliases: Mapping[str, tuple[str, ...]] = ALIASES, typed: Collection[str] = ()) -> Run:
    """Reads a run.

    Args:
        folder: The run folder, or one event file.
        aliases: Tag of the contract to the names that others give it, the best first.
        typed: Tags whose first alias the user typed; it wins over the tag itself.

    Raises:
        UserError: A file in it is not what its name says.
    """
    folder = Path(folder)
    points, tensors = read_scalars(folder)
    for name in _STOCK_KERAS_FOLDERS:
        below = read_scalars(folder / name)
        points |= {f"{name}/{tag}": values for tag, values in below.points.items()}
        tensors |= below.tensors
    for tag, others in aliases.items():
        known = next((points[other] for other in others if other in points), None)
        if known is not None and (tag not in points or (tag in typed and others[0] in points)):
            points[tag] = known
    home = folder.parent if folder.is_file() else folder
    config = read_config(home)
    ours = tags.PARAMETERS in points
    framework = home.parent.name
    if framework not in (KERAS, PYTORCH):
        framework = KERAS if tensors else PYTORCH
    return Run(
        folder=folder,
        framework=framework,
        settings=settings_that_matter(config) if config else {},
        seed=config.get("seed_everything") if config else None,
        points=points,
        finished=not ours or points.keys() >= _LAST,
        mistakes=read_mistakes(home),
    )


def newest_pair(found: Iterable[Run]) -> list[Run]:
    """The newest finished run of each framework that share settings.

    Where none do, the newest of each; where only one framework has any, its newest.
    """
    newest = sorted((run for run in found if run.finished), key=lambda run: run.started, reverse=True)
    for run in newest:
        for other in newest:
            if other.framework != run.framework and (other.settings, other.seed) == (run.settings, run.seed):
                return [run, other]
    firsts = {run.framework: run for run in reversed(newest)}
    return list(firsts.values())


def newest_by_seed(found: Iterable[Run]) -> dict[Hashable, Run]:
    """The newest run of each seed, since a seed that is run again tells little new; by folder where it is unknown."""
    ascending = sorted(found, key=lambda run: run.started)
    return {run.folder if run.seed is None else run.seed: run for run in ascending}


def _holds_log(folder: Path) -> bool:
    return any(any(place.glob(PATTERN)) for place in (folder, *(folder / name for name in _STOCK_KERAS_FOLDERS)))


def _hashable(value: Any) -> Hashable:
    if isinstance(value, Mapping):
        return frozenset((name, _hashable(inner)) for name, inner in value.items())
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value
