"""The results table: published figures beside today's, with intervals.

Above the ground floor, no framework: made from runs by ``compare``, printed by ``report``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, harmonic_mean, stdev
from typing import Any, NamedTuple

from cnn_mnist import runs
from cnn_mnist.batches import batch_count
from cnn_mnist.settings import SOFTMAX_TWICE_FLOOR
from keras_parity import published
from keras_parity.logs import Run

TITLES = {runs.KERAS: "Keras", runs.PYTORCH: "PyTorch"}


class Cell(NamedTuple):
    """A figure.

    Attributes:
        mean: Over the runs of a column, or the figure itself.
        half_width: Half of the 95% interval of the mean; None for a single run.
        n: Number of runs.
    """

    mean: float
    half_width: float | None = None
    n: int = 1


@dataclass(frozen=True)
class Column:
    """Runs of one kind: same framework, same settings, all finished or none.

    Attributes:
        title: As printed.
        framework: ``"keras"`` or ``"pytorch"``.
        runs: The runs; none in a published column.
        cells: Figure of each row, by its key; a row that a column has not is missing.
    """

    title: str
    framework: str
    runs: tuple[Run, ...]
    cells: dict[str, Cell]


class Row(NamedTuple):
    """One row: what it is called, the format of its figures, and how a run gives its figure."""

    title: str
    format: str
    value: Callable[[Run], float | None]


@dataclass(frozen=True)
class Table:
    """The whole comparison.

    Attributes:
        columns: Published Keras, published PyTorch, then today's.
        difference: PyTorch minus Keras by row, where today has one column of each.
        settings: Rows of the only-differences table, its header first; empty where nothing differs.
        notes: What a reader must know, one line each.
    """

    columns: list[Column]
    difference: dict[str, float]
    settings: list[list[str]]
    notes: list[str]


def _last(tag: str) -> Callable[[Run], float | None]:
    return lambda run: run.last(tag)


def _milliseconds_per_step(run: Run) -> float | None:
    epochs = run.points.get(runs.EPOCH_SECONDS)
    if not epochs:
        return None
    steps = [later.step - earlier.step for earlier, later in pairwise(epochs)]
    speed, batch_size = run.points.get(runs.IMAGES_PER_SECOND), run.settings.get("data.batch_size")
    if not steps and speed and batch_size:  # one epoch; a resumed run does not begin at step 0
        steps = [batch_count(round(epochs[0].value * speed[0].value), batch_size)]
    steps = steps or [epochs[0].step]
    return 1000 * fmean(point.value for point in epochs) / fmean(steps) if fmean(steps) else None


def _images_per_second(run: Run) -> float | None:
    # Each epoch takes the same images, so the speed of the whole is the harmonic mean.
    speeds = [point.value for point in run.points.get(runs.IMAGES_PER_SECOND, []) if point.value > 0]
    return harmonic_mean(speeds) if speeds else None


ROWS: dict[str, Row] = {
    "train/acc": Row("acc train", ".4f", _last("train/acc")),
    "test/acc": Row("acc test", ".4f", _last("test/acc")),
    "train/loss": Row("loss train", ".4f", _last("train/loss")),
    "test/loss": Row("loss test", ".4f", _last("test/loss")),
    runs.FIT_SECONDS: Row("time (s)", ".1f", _last(runs.FIT_SECONDS)),
    "val/acc": Row("acc held-out part", ".4f", _last("val/acc")),
    "val/loss": Row("loss held-out part", ".4f", _last("val/loss")),
    "train_eval/acc": Row("acc train, final weights", ".4f", _last("train_eval/acc")),
    "train_eval/loss": Row("loss train, final weights", ".4f", _last("train_eval/loss")),
    runs.PARAMETERS: Row("parameters", ",.0f", _last(runs.PARAMETERS)),
    "ms_per_step": Row("ms per step", ".2f", _milliseconds_per_step),
    runs.IMAGES_PER_SECOND: Row("images per second", ",.0f", _images_per_second),
    runs.SETUP_SECONDS: Row("set-up time (s)", ".1f", _last(runs.SETUP_SECONDS)),
}


def make_table(found: Sequence[Run]) -> Table:
    """Groups the runs into columns and compares them.

    Args:
        found: The runs; those of one framework with the same settings share a column, an unfinished one never
            with a finished one.
    """
    groups: dict[Any, list[Run]] = {}
    for run in sorted(found, key=lambda run: run.framework):
        key = (run.framework, not run.finished, tuple(sorted((name, str(v)) for name, v in run.settings.items())))
        groups.setdefault(key, []).append(run)
    columns = [_published(framework) for framework in (runs.KERAS, runs.PYTORCH)]
    notes = [published.footnote()]
    todays: list[Column] = []
    for (framework, unfinished, _), members in groups.items():
        title = TITLES[framework] + (" (unfinished)" if unfinished else "")
        alike = sum(key[:2] == (framework, unfinished) for key in groups)
        if alike > 1:
            earlier = [column for column in todays if column.framework == framework]
            title += f" {1 + sum(column.runs[0].finished != unfinished for column in earlier)}"
        cells = {key: _cell([row.value(run) for run in members]) for key, row in ROWS.items()}
        known = {key: cell for key, cell in cells.items() if cell is not None}
        todays.append(Column(title, framework, tuple(members), known))
        if unfinished:
            notes += [f"{run.folder} has not finished; it is shown, and averaged with no other" for run in members]
        notes += [note for run in members if (note := _softmax_twice(run))]
    for framework, title in TITLES.items():
        if not any(column.framework == framework for column in todays):
            package = "cnn_mnist fit" if framework == runs.PYTORCH else "keras_parity"
            notes.append(f"no run of {title} among these: python -m {package} makes one")
    return Table(columns + todays, _difference(todays), _differing_settings(todays), notes)


def _difference(columns: Sequence[Column]) -> dict[str, float]:
    """PyTorch minus Keras by row, where each has one finished column; else empty."""
    finished = [column for column in columns if column.runs[0].finished]
    by_framework = {column.framework: column.cells for column in finished}
    if len(finished) != 2 or len(by_framework) != 2:
        return {}
    keras, pytorch = by_framework[runs.KERAS], by_framework[runs.PYTORCH]
    return {key: pytorch[key].mean - keras[key].mean for key in ROWS if key in keras and key in pytorch}


def _published(framework: str) -> Column:
    cells = {tag: Cell(value) for tag, value in published.RESULTS[framework].items()}
    return Column(f"published {TITLES[framework]}", framework, (), cells)


def _cell(values: Sequence[float | None]) -> Cell | None:
    """Mean and 95% interval (Student's t) of the runs that have the figure."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    if len(known) == 1:
        return Cell(known[0])
    from scipy.special import stdtrit  # of scipy.stats it would take a second to import

    quantile = float(stdtrit(len(known) - 1, 0.975))
    return Cell(fmean(known), quantile * stdev(known) / math.sqrt(len(known)), len(known))


def _softmax_twice(run: Run) -> str | None:
    loss, acc = run.last("train/loss"), run.last("train/acc")
    if loss is None or acc is None or not (loss >= SOFTMAX_TWICE_FLOOR - 1e-4 and acc >= 0.9):
        return None
    return (
        f"{run.folder}: a loss of {loss:.4f} at an accuracy of {acc:.4f} is that of a softmax before the loss, which "
        f"cannot fall under {SOFTMAX_TWICE_FLOOR:.6f}"
    )


def _differing_settings(columns: Sequence[Column]) -> list[list[str]]:
    """The only-differences table over columns whose settings are known."""
    known = [column for column in columns if column.runs and column.runs[0].settings]
    names = sorted({name for column in known for name in column.runs[0].settings})
    rows = []
    for name in names:
        values = [str(column.runs[0].settings.get(name, "-")) for column in known]
        if len(set(values)) > 1:
            rows.append([name, *values])
    return [["setting", *(column.title for column in known)], *rows] if rows else []
