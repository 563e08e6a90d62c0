"""The results tables as text, data and picture."""

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from cnn_mnist.console.tables import markdown_table, natural_width, print_table, print_text, terminal_width
from keras_parity.compare.rows import ROWS
from keras_parity.compare.table import TITLES, Column, Table, differing_settings
from keras_parity.compare.verdict import Estimate, Verdict

COMPARE_TAG = "compare"
"""Tag of the tables' text in TensorBoard, and name of its folder among the logs."""

CHARTS = ("train/loss", "test/acc")
"""Tags that TensorBoard's custom scalars draw over all runs of both frameworks."""

_MARKED = {("published PyTorch", tag) for tag in ("train/loss", "test/loss")}


def rows(table: Table) -> list[list[str]]:
    """The table as strings, its header first; in each row words stand before figures."""
    header = ["", *(["verdict", "difference"] if table.verdicts else []), *map(_heading, table.columns)]
    body = []
    for key, row in ROWS.items():
        verdict, said = table.verdicts.get(key), ["", ""] if table.verdicts else []
        if verdict is not None:
            said = [_said(verdict), _with_interval(verdict.difference, f"+z{row.format}")]
        if any(key in column.cells for column in table.columns):
            body.append([row.title, *said, *(_figure(column, key) for column in table.columns)])
    return [header, *body]


def print_tables(tables: Sequence[Table], file: IO[str] | None = None) -> None:
    """Prints the tables, what differs in the settings, and the notes.

    Args:
        tables: The tables; the published columns are printed below today's where the terminal is too narrow for all.
        file: Where they are printed; by default standard output.
    """
    for table in tables:
        for part in [table] if natural_width(rows(table)) <= terminal_width() else _apart(table):
            print_table(rows(part), part.title or "results", file)
    if settings := _settings(tables):
        print_table(settings, "settings that differ", file)
    for note in _notes(tables):
        print_text(note, file)


def to_text(tables: Sequence[Table]) -> str:
    """What ``print_tables`` prints."""
    text = io.StringIO()
    print_tables(tables, text)
    return text.getvalue()


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
            writer.writerow([table.title, key, "difference (PyTorch - Keras)", *verdict.difference, verdict.word])
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
    verdicts = {key: _jsonable(verdict) for key, verdict in table.verdicts.items()}
    return {"title": table.title, "columns": columns, "verdicts": verdicts}


def _jsonable(value: Any) -> Any:
    """Named fields as a mapping, and null for what JSON has no number for."""
    if isinstance(value, Estimate | Verdict):
        return {name: _jsonable(field) for name, field in value._asdict().items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _apart(table: Table) -> list[Table]:
    """Today's columns, and the published ones if there are any."""
    published = [column for column in table.columns if not column.runs]
    todays = replace(table, columns=[column for column in table.columns if column.runs])
    return [todays, *([replace(table, columns=published, verdicts={}, title="published")] if published else [])]


def _settings(tables: Sequence[Table]) -> list[list[str]]:
    return differing_settings([column for table in tables for column in table.columns])


def _notes(tables: Sequence[Table]) -> list[str]:
    """Each note once."""
    return list(dict.fromkeys(note for table in tables for note in table.notes))


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {"markdown": to_markdown, "csv": to_csv, "json": to_json}
"""Formats beside ``rich``, which is printed."""


def draw(tables: Sequence[Table], path: str | Path) -> None:
    """Draws the training curves of today's runs as a picture.

    Args:
        tables: The tables, drawn one under another.
        path: The file; its ending, such as .png, .pdf or .svg, is the format.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5 * len(tables)), layout="constrained")
    for part, table in zip(figure.subfigures(len(tables), squeeze=False).flat, tables, strict=True):
        part.suptitle(table.title)
        for axes, tag in zip(part.subplots(1, 2), ("train/loss", "train/acc"), strict=True):
            _draw(table, tag, axes)
    figure.savefig(path, dpi=120)


def _draw(table: Table, tag: str, axes: Any) -> None:
    for column in table.columns:
        for number, run in enumerate(column.runs):
            curve = run.points.get(tag, [])
            color = f"C{list(TITLES).index(column.framework)}"
            label = None if number else column.title
            steps, values = [point.step for point in curve], [point.value for point in curve]
            axes.plot(steps, values, ".-", lw=1, ms=4, alpha=0.6, label=label, color=color)
    axes.set(title=tag, xlabel="optimizer updates", yscale="log" if tag.endswith("loss") else "linear")
    axes.legend()
    axes.grid(alpha=0.3)


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
