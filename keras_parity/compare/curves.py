"""Curves over several runs: their mean with a band, for TensorBoard and as a picture."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from cnn_mnist.runs import tags
from keras_parity.compare.columns import Column
from keras_parity.compare.report import Table, difference
from keras_parity.compare.rows import PRIMARY, ROWS
from keras_parity.compare.verdict import ALPHA, student
from keras_parity.logs.event_writer import band_of, margin_charts, scalars, write_events
from keras_parity.logs.run import Run

if TYPE_CHECKING:  # a table alone does not wait for matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST = 1000
"""Points of a band in TensorBoard, which itself shows no more of a curve."""

_STYLES = {"train": "-", "val": "--", "test": ":"}


def band(tag: str, runs: Iterable[Run]) -> NDArray[np.float64]:
    """Mean and 95% band (Student's t) of a tag over the runs that have it, at the steps that all of these share.

    Returns:
        Step, wall time, mean, lower and upper end, [n, 5]; the ends of one run alone are its values, and those of a row
        of the table stay within what it can be.
    """
    curves = [np.asarray(run.points[tag], np.float64).reshape(-1, 3) for run in runs if tag in run.points]
    if not curves:
        return np.empty((0, 5))
    shared = reduce(np.intersect1d, (curve[:, 0] for curve in curves))
    stacked = np.stack([curve[np.isin(curve[:, 0], shared)] for curve in curves])
    (steps, times, mean), n = stacked.mean(axis=0).T, len(curves)
    half = student(n - 1, ALPHA) * stacked[..., 2].std(axis=0, ddof=1) / math.sqrt(n) if n > 1 else 0.0
    low, high = mean - half, mean + half
    if tag in ROWS:
        low, high = np.maximum(low, 0), np.minimum(high, ROWS[tag].greatest)
    return np.stack([steps, times, mean, low, high], axis=1)


def write_bands(folder: Path, tables: Sequence[Table], summaries: Iterable[Summary]) -> None:
    """Writes the band of every tag as a run of TensorBoard for each column, and a page for each table.

    Args:
        folder: Gets the pages; the runs lie below it, by the columns' titles.
        tables: The tables.
        summaries: Written beside the pages.
    """
    pages, runs = dict[str, list[str]](), dict[str, Iterable[Event]]()
    for table in tables:
        curves = set()
        for column in (column for column in table.columns if column.runs):
            bands = {tag: band(tag, column.runs) for tag in _tags(column)}
            curves |= {tag for tag, points in bands.items() if len(points) > 1}
            runs[column.title] = _events(table.where, bands)
        order = [*ROWS, *sorted(curves - ROWS.keys())]
        title = ", ".join(filter(None, ["Mean and 95% band", table.title]))
        pages[title] = [table.where + tag for tag in order if tag in curves]
    write_events(folder, [*summaries, margin_charts(pages)])
    for title, events in runs.items():
        write_events(folder / title.replace("/", "_"), [], events)


def draw(tables: Sequence[Table]) -> "Figure":
    """A slide: a panel for each experiment, with losses and accuracies of each column and what the table says.

    Returns:
        matplotlib's figure.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.33, 7.5), layout="constrained")  # inches, as a slide of 16:9 has them
    across = math.ceil(math.sqrt(len(tables)))
    panels = figure.subfigures(math.ceil(len(tables) / across), across, squeeze=False).flat
    for panel, table in zip(panels, tables, strict=False):
        panel.suptitle("\n".join(filter(None, [table.title, *said(table)])))
        for axes, metric in zip(panel.subplots(*((1, 2) if across == 1 else (2, 1))), tags.METRICS, strict=True):
            _draw([column for column in table.columns if column.runs], metric, axes)
    return figure


def said(table: Table) -> list[str]:
    """What each comparison says of the row that a table is made for, one line each."""
    row = ROWS[PRIMARY]
    return [
        f"{row.title}: {verdict.word}; {second.side} minus {first.side} is {difference(verdict, row.format)} "
        f"({verdict.basis})"
        for first, second, verdicts, _ in table.comparisons
        if (verdict := verdicts.get(PRIMARY))
    ]


def _events(where: str, bands: Mapping[str, NDArray[np.float64]]) -> Iterator[Event]:
    """The bands by tag, of a long one some points, the first and the last included."""
    for tag, points in bands.items():
        some = np.linspace(0, len(points) - 1, min(len(points), _MOST)).astype(int)
        yield from scalars(band_of(where + tag), points[some].tolist())


def _tags(column: Column) -> list[str]:
    return sorted({tag for run in column.runs for tag in run.points} - {tags.PARAMETERS})


def _draw(columns: Sequence[Column], metric: str, axes: "Axes") -> None:
    for number, column in enumerate(columns):
        for split, style in _STYLES.items():
            points = band(f"{split}/{metric}", column.runs)
            if not len(points):
                continue
            steps, _, mean, low, high = points.T
            label = f"{column.title}, {split}"
            if len(points) > 1:
                axes.plot(steps, mean, style, color=f"C{number}", label=label)
                axes.fill_between(steps, low, high, color=f"C{number}", alpha=0.25, lw=0)
            else:
                ends = [mean - low, high - mean]
                axes.errorbar(steps, mean, ends, fmt="D", ms=5, capsize=8, color=f"C{number}", label=label)
    axes.set(title=metric, xlabel="optimizer updates", yscale="log" if metric == "loss" else "linear")
    if axes.has_data():
        axes.legend()
    axes.grid(alpha=0.3)
