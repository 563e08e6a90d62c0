"""Curves of several runs: their mean with a band, for TensorBoard and as a picture."""

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
from keras_parity.compare.cells import difference
from keras_parity.compare.columns import Column
from keras_parity.compare.intervals import ALPHA, student
from keras_parity.compare.report import Table
from keras_parity.compare.rows import PRIMARY, ROWS
from keras_parity.logs.event_writer import band_of, margin_charts, scalars, write_events
from keras_parity.logs.run import Run

if TYPE_CHECKING:  # a table alone needs no matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST = 1000
"""Points of a band; TensorBoard shows no more of a curve."""

_STYLES = {"train": "-", "val": "--", "test": ":"}


def band(tag: str, runs: Iterable[Run]) -> NDArray[np.float64]:
    """Mean and 95% band (Student's t) of a tag, at the steps that all runs with the tag share.

    Args:
        tag: The tag.
        runs: The runs; runs without the tag are ignored.

    Returns:
        Step, wall time (seconds since 1970), mean, lower and upper end, float64 [n, 5]. The band of a single run has no
        width; the band of a row of the table stays in the row's range.
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
    """Writes a TensorBoard run for each column, with the band of every tag, and a page of charts for each table.

    Args:
        folder: Folder of the pages; the runs are saved below it, named after the columns.
        tables: The tables.
        summaries: Other summaries to write with the pages.

    Raises:
        OSError: The folder cannot be written.
    """
    pages, runs = dict[str, list[str]](), dict[str, Iterable[Event]]()
    for table in tables:
        curves = set()
        for column in (column for column in table.columns if column.runs):
            logged = {tag for run in column.runs for tag in run.points} - {tags.PARAMETERS}
            bands = {tag: band(tag, column.runs) for tag in sorted(logged)}
            curves |= {tag for tag, points in bands.items() if len(points) > 1}
            runs[column.title] = _events(table.where, bands)
        order = [*ROWS, *sorted(curves - ROWS.keys())]
        title = ", ".join(filter(None, ["Mean and 95% band", table.title]))
        pages[title] = [table.where + tag for tag in order if tag in curves]
    write_events(folder, [*summaries, margin_charts(pages)])
    for title, events in runs.items():
        write_events(folder / title.replace("/", "_"), [], events)


def draw(tables: Sequence[Table]) -> "Figure":
    """Draws a slide: a panel for each experiment, with the losses and accuracies of each column and the verdict.

    Args:
        tables: The tables; at least one.

    Returns:
        matplotlib's figure, 13.33 x 7.5 inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.33, 7.5), layout="constrained")  # inches: a 16:9 slide
    across = math.ceil(math.sqrt(len(tables)))
    panels = figure.subfigures(math.ceil(len(tables) / across), across, squeeze=False).flat
    for panel, table in zip(panels, tables, strict=False):
        panel.suptitle("\n".join(filter(None, [table.title, *primary_lines(table)])))
        for axes, metric in zip(panel.subplots(*((1, 2) if across == 1 else (2, 1))), tags.METRICS, strict=True):
            _draw([column for column in table.columns if column.runs], metric, axes)
    return figure


def primary_lines(table: Table) -> list[str]:
    """The verdict of each comparison on the primary row, one line each."""
    row = ROWS[PRIMARY]
    return [
        f"{row.title}: {verdict.word}; {second.side} minus {first.side} is {difference(verdict, row.format)} "
        f"({verdict.basis})"
        for first, second, verdicts, _ in table.comparisons
        if (verdict := verdicts.get(PRIMARY))
    ]


def _events(where: str, bands: Mapping[str, NDArray[np.float64]]) -> Iterator[Event]:
    """The points of the bands, by tag; long bands are thinned, but keep both ends."""
    for tag, points in bands.items():
        some = np.linspace(0, len(points) - 1, min(len(points), _MOST)).astype(int)
        yield from scalars(band_of(where + tag), points[some].tolist())


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
