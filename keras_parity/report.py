"""The results table as text, data and picture.

Above the ground floor, no framework: what ``table`` made goes in; imported by ``compare``.
"""

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path

from cnn_mnist import runs
from cnn_mnist.tables import markdown_table, print_table
from keras_parity.table import ROWS, TITLES, Cell, Column, Table

COMPARE_TAG = "compare"
"""Tag of the table's text in TensorBoard, and name of its folder under ``lightning_logs``."""

CHARTS = ("train/loss", "test/acc")
"""Tags that TensorBoard's custom scalars draw over all runs of both frameworks."""

COMPARE_FOLDER = Path(runs.LOG_DIR, COMPARE_TAG)

_MARKED = {("published PyTorch", tag) for tag in ("train/loss", "test/loss")}


def rows(table: Table) -> list[list[str]]:
    """The table as strings, its header first."""
    header = ["", *(_heading(column) for column in table.columns)]
    if table.difference:
        header.append("difference (PyTorch - Keras)")
    body = []
    for key, row in ROWS.items():
        if not any(key in column.cells for column in table.columns):
            continue
        cells = [row.title, *(_figure(column, key) for column in table.columns)]
        if table.difference:
            cells.append(f"{table.difference[key]:+{row.format}}" if key in table.difference else "")
        body.append(cells)
    return [header, *body]


def print_rich(table: Table) -> None:
    """Prints the table, what differs in the settings, and the notes on the terminal."""
    from rich.console import Console

    print_table(rows(table), title="results")
    if table.settings:
        print_table(table.settings, title="settings that differ")
    console = Console(highlight=False)
    for note in table.notes:
        console.print(note, markup=False, soft_wrap=True)


def to_markdown(table: Table) -> str:
    """The table, what differs in the settings, and the notes in Markdown."""
    parts = [markdown_table(rows(table))]
    if table.settings:
        parts.append("Settings that differ:\n\n" + markdown_table(table.settings))
    parts += [note.replace("*", r"\*") for note in table.notes]
    return "\n\n".join(parts) + "\n"


def to_csv(table: Table) -> str:
    """The figures in full precision: row, column, mean, half width of the 95% interval, n."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "column", "mean", "half_width_95", "n"])
    for column in table.columns:
        for key, cell in column.cells.items():
            writer.writerow([key, column.title, cell.mean, cell.half_width, cell.n])
    return text.getvalue()


def to_json(table: Table) -> str:
    """The figures in full precision, with runs, settings and notes."""
    columns = [
        {
            "title": column.title,
            "framework": column.framework,
            "runs": [str(run.folder) for run in column.runs],
            "settings": column.runs[0].settings if column.runs else None,
            "cells": {key: _jsonable(cell) for key, cell in column.cells.items()},
        }
        for column in table.columns
    ]
    difference = {key: value if math.isfinite(value) else None for key, value in table.difference.items()}
    content = {"columns": columns, "difference": difference, "notes": table.notes}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _jsonable(cell: Cell) -> dict[str, float | None]:
    """A figure with null for what JSON has no number for."""
    values = cell._asdict()
    return {name: value if value is not None and math.isfinite(value) else None for name, value in values.items()}


FORMATS: dict[str, Callable[[Table], str]] = {"markdown": to_markdown, "csv": to_csv, "json": to_json}
"""Formats beside ``rich``, which is printed."""


PICTURES = (".png", ".pdf", ".svg")
"""Endings of the pictures that ``draw`` makes."""


def draw(table: Table, path: Path) -> None:
    """Draws the training curves of today's runs and the table's rows as a picture.

    Args:
        table: The table.
        path: The file; its ending is the format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, height_ratios=(1.2, 1))
    for place, tag in enumerate(("train/loss", "train/acc")):
        axes = figure.add_subplot(grid[0, place])
        for column in table.columns:
            for number, run in enumerate(column.runs):
                curve = run.points.get(tag, [])
                label = column.title if number == 0 else None
                color = f"C{list(TITLES).index(column.framework)}"
                axes.plot([p.step for p in curve], [p.value for p in curve], ".-", label=label, color=color)
        axes.set(title=tag, xlabel="optimizer updates", yscale="log" if tag.endswith("loss") else "linear")
        if axes.lines:
            axes.legend()
        axes.grid(alpha=0.3)
    axes = figure.add_subplot(grid[1, :])
    axes.axis("off")
    header, *body = rows(table)
    drawn = axes.table(body, colLabels=header, loc="center", cellLoc="right")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(8)
    drawn.auto_set_column_width(list(range(len(header))))
    figure.savefig(path, dpi=120)


def _heading(column: Column) -> str:
    return f"{column.title} (n = {len(column.runs)})" if len(column.runs) > 1 else column.title


def _figure(column: Column, key: str) -> str:
    cell: Cell | None = column.cells.get(key)
    if cell is None:
        return ""
    if (column.title, key) in _MARKED:
        return f"{cell.mean} *"
    text = f"{cell.mean:{ROWS[key].format}}"
    return text if cell.half_width is None else f"{text} ± {cell.half_width:{ROWS[key].format}}"
