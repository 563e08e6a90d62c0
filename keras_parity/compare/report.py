"""The results tables as text, data and picture."""

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cnn_mnist.console.tables import markdown_table, print_table
from keras_parity.compare.rows import ROWS
from keras_parity.compare.table import TITLES, Column, Table, differing_settings
from keras_parity.compare.verdict import Estimate, Verdict

COMPARE_TAG = "compare"
"""Tag of the tables' text in TensorBoard, and name of its folder among the logs."""

CHARTS = ("train/loss", "test/acc")
"""Tags that TensorBoard's custom scalars draw over all runs of both frameworks."""

_DIFFERENCE = "difference (PyTorch - Keras)"
_MARKED = {("published PyTorch", tag) for tag in ("train/loss", "test/loss")}


def rows(table: Table) -> list[list[str]]:
    """The table as strings, its header first."""
    header = ["", *(_heading(column) for column in table.columns)]
    if table.verdicts:
        header += [_DIFFERENCE, "verdict"]
    body = []
    for key, row in ROWS.items():
        if not any(key in column.cells for column in table.columns):
            continue
        cells = [row.title, *(_figure(column, key) for column in table.columns)]
        if table.verdicts:
            verdict = table.verdicts.get(key)
            cells += [_with_interval(verdict.difference, f"+z{row.format}"), _said(verdict)] if verdict else ["", ""]
        body.append(cells)
    return [header, *body]


def print_rich(tables: Sequence[Table]) -> None:
    """Prints the tables, what differs in the settings, and the notes on the terminal."""
    from rich.console import Console

    for table in tables:
        print_table(rows(table), title=table.title or "results")
    if settings := _settings(tables):
        print_table(settings, title="settings that differ")
    console = Console(highlight=False)
    for note in _notes(tables):
        console.print(note, markup=False, soft_wrap=True)


def to_markdown(tables: Sequence[Table]) -> str:
    """The tables, what differs in the settings, and the notes in Markdown."""
    parts = []
    for table in tables:
        parts += [f"### {table.title}"] if table.title else []
        parts.append(markdown_table(rows(table)))
    if settings := _settings(tables):
        parts.append("Settings that differ:\n\n" + markdown_table(settings))
    parts += [note.replace("*", r"\*") for note in _notes(tables)]
    return "\n\n".join(parts) + "\n"


def to_csv(tables: Sequence[Table]) -> str:
    """The figures in full precision: experiment, row, column, mean, half width of the 95% interval, n, verdict."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["experiment", "row", "column", "mean", "half_width_95", "n", "verdict"])
    for table in tables:
        for column in table.columns:
            writer.writerows([table.title, key, column.title, *cell, ""] for key, cell in column.cells.items())
        for key, verdict in table.verdicts.items():
            writer.writerow([table.title, key, _DIFFERENCE, *verdict.difference, verdict.word])
    return text.getvalue()


def to_json(tables: Sequence[Table]) -> str:
    """The figures in full precision, with verdicts, runs, settings and notes."""
    content = {"tables": [_content(table) for table in tables], "notes": _notes(tables)}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _content(table: Table) -> dict[str, Any]:
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
    verdicts = {
        key: _jsonable(verdict) | {"difference": _jsonable(verdict.difference)}
        for key, verdict in table.verdicts.items()
    }
    return {"title": table.title, "columns": columns, "verdicts": verdicts}


def _jsonable(figures: Estimate | Verdict) -> dict[str, Any]:
    """The fields, with null for what JSON has no number for."""
    fields = figures._asdict()
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in fields.items()
    }


def _settings(tables: Sequence[Table]) -> list[list[str]]:
    return differing_settings([column for table in tables for column in table.columns])


def _notes(tables: Sequence[Table]) -> list[str]:
    """Each note once."""
    return list(dict.fromkeys(note for table in tables for note in table.notes))


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {"markdown": to_markdown, "csv": to_csv, "json": to_json}
"""Formats beside ``rich``, which is printed."""


PICTURES = (".png", ".pdf", ".svg")
"""Endings of the pictures that ``draw`` makes."""


def draw(tables: Sequence[Table], path: Path) -> None:
    """Draws the training curves of today's runs and the tables' rows as a picture.

    Args:
        tables: The tables, drawn one under another.
        path: The file; its ending is the format.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9 * len(tables)), layout="constrained")
    FigureCanvasAgg(figure)
    for part, table in zip(figure.subfigures(len(tables), squeeze=False).flat, tables, strict=True):
        part.suptitle(table.title)
        _draw(table, part)
    figure.savefig(path, dpi=120)


def _draw(table: Table, figure: Any) -> None:
    grid = figure.add_gridspec(2, 2, height_ratios=(1.2, 1))
    for place, tag in enumerate(("train/loss", "train/acc")):
        axes = figure.add_subplot(grid[0, place])
        for column in table.columns:
            for number, run in enumerate(column.runs):
                curve = run.points.get(tag, [])
                label = column.title if number == 0 else None
                color = f"C{list(TITLES).index(column.framework)}"
                steps, values = [p.step for p in curve], [p.value for p in curve]
                axes.plot(steps, values, ".-", lw=1, ms=4, alpha=0.6, label=label, color=color)
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


def _heading(column: Column) -> str:
    return f"{column.title} (n = {len(column.runs)})" if len(column.runs) > 1 else column.title


def _figure(column: Column, key: str) -> str:
    cell = column.cells.get(key)
    if cell is None:
        return ""
    return f"{cell.mean} *" if (column.title, key) in _MARKED else _with_interval(cell, ROWS[key].format)


def _with_interval(figure: Estimate, form: str) -> str:
    text = f"{figure.mean:{form}}"
    return text if figure.half_width is None else f"{text} ± {figure.half_width:{form.lstrip('+z')}}"


def _said(verdict: Verdict) -> str:
    return verdict.word if verdict.needed is None else f"{verdict.word} (about {verdict.needed:,} pairs)"
