"""The results tables as text and data."""

import io
import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import IO, Any

from cnn_mnist.console.tables import markdown_table, natural_width, print_table, print_text, terminal_width
from keras_parity.compare.columns import Column
from keras_parity.compare.hardware import lacking_gpu
from keras_parity.compare.rows import ROWS, Row
from keras_parity.compare.table import Table
from keras_parity.compare.verdict import APART, Estimate, Verdict
from keras_parity.logs.run import hashable

_SET_BY_COMMANDS = {"openmp.GOMP_SPINCOUNT"}
"""Each command sets these for its own framework; they are no choice of the user's."""

_MARKED = {("published PyTorch", tag) for tag in ("train/loss", "test/loss")}


def rows(table: Table) -> list[list[str]]:
    """The table as strings, its header first; in each row words stand before figures."""
    head, bases = [""], []
    for comparison in table.comparisons:
        bases.append(next((verdict.basis for verdict in comparison.verdicts.values() if verdict.basis), ""))
        whose = f"{comparison.second.side}: " if len(table.comparisons) > 1 else ""
        head += [f"{whose}verdict", f"difference ({bases[-1]})"]
    body = [head + [_heading(column) for column in table.columns]]
    for key, row in ROWS.items():
        if any(key in column.cells for column in table.columns):
            compared = zip(table.comparisons, bases, strict=True)
            said = [text for part, basis in compared for text in _said(part.verdicts.get(key), row, basis)]
            body.append([row.title, *said, *(_figure(column, key) for column in table.columns)])
    return body


def headlines(tables: Sequence[Table]) -> list[str]:
    """What must be known before anything else: a GPU that one framework alone had."""
    alarm = lacking_gpu([run for table in tables for column in table.columns if column.finished for run in column.runs])
    return [alarm] if alarm else []


def print_tables(tables: Sequence[Table], file: IO[str] | None = None) -> None:
    """Prints the tables, what differs in settings and environment, and the notes.

    Args:
        tables: The tables; the published columns are printed below today's where the terminal is too narrow for all.
        file: Where they are printed; by default standard output.
    """
    for line in headlines(tables):
        print_text(f"{line}\n", file, style="bold")
    for table in tables:
        for part in [table] if natural_width(rows(table)) <= terminal_width() else _apart(table):
            print_table(rows(part), part.title or "results", file)
    if differences := what_differs(tables):
        print_table(differences, "what differs", file)
    for note in notes(tables):
        print_text(note, file)


def to_text(tables: Sequence[Table]) -> str:
    """What ``print_tables`` prints."""
    text = io.StringIO()
    print_tables(tables, text)
    return text.getvalue()


def to_markdown(tables: Sequence[Table]) -> str:
    """The tables, what differs in settings and environment, and the notes in Markdown."""
    parts = headlines(tables)
    for table in tables:
        parts += [f"### {table.title}"] if table.title else []
        parts.append(markdown_table(rows(table)))
    if differences := what_differs(tables):
        parts.append("What differs:\n\n" + markdown_table(differences))
    parts += [note.replace("*", r"\*") for note in notes(tables)]
    return "\n\n".join(parts) + "\n"


def to_json(tables: Sequence[Table]) -> str:
    """The figures in full precision, with verdicts, runs, settings and notes."""
    content = {"tables": [_content(table) for table in tables], "notes": headlines(tables) + notes(tables)}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def _content(table: Table) -> dict[str, Any]:
    columns = [
        {
            "title": column.title,
            "framework": column.framework,
            "runs": [str(run.folder) for run in column.runs],
            "settings": column.runs[0].settings if column.runs else None,
            "environments": [run.environment for run in column.runs],
            "cells": {key: _jsonable(cell) for key, cell in column.cells.items()},
        }
        for column in table.columns
    ]
    verdicts = [{key: _jsonable(verdict) for key, verdict in part.verdicts.items()} for part in table.comparisons]
    others = {part.second.title: said for part, said in zip(table.comparisons[1:], verdicts[1:], strict=True)}
    return {
        "title": table.title,
        "columns": columns,
        "verdicts": verdicts[0] if verdicts else {},
        **({"verdicts of others": others} if others else {}),
    }


def _jsonable(value: Any) -> Any:
    """Named fields as a mapping, and null for what JSON has no number for."""
    if isinstance(value, Estimate | Verdict):
        return {name: _jsonable(field) for name, field in value._asdict().items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _apart(table: Table) -> list[Table]:
    """Today's columns, and the published ones if there are any."""
    published = [column for column in table.columns if not column.runs]
    todays = replace(table, columns=[column for column in table.columns if column.runs])
    return [todays, *([replace(table, columns=published, comparisons=[], title="published")] if published else [])]


def what_differs(tables: Sequence[Table]) -> list[list[str]]:
    """The settings, and what of the environment, in which not all runs agree, by column; empty where they do.

    A column of which nothing is known, such as somebody else's log, has an empty cell.
    """
    columns = [column for table in tables for column in table.columns if column.runs]
    body = []
    for kind, prefix in (lambda run: run.settings, ""), (lambda run: run.environment, "environment."):
        held = [[kind(run) for run in column.runs if kind(run)] for column in columns]
        for name in sorted({name for column in held for values in column for name in values} - _SET_BY_COMMANDS):
            found = [{hashable(values.get(name, "-")): values.get(name, "-") for values in column} for column in held]
            if len({value for column in found for value in column}) > 1:
                cells = (" or ".join(sorted(_short(value) for value in column.values())) for column in found)
                body.append([f"{prefix}{name}", *cells])
    return [["setting", *(column.title for column in columns)], *body] if body else []


def notes(tables: Sequence[Table]) -> list[str]:
    """Each note once."""
    return list(dict.fromkeys(note for table in tables for note in table.notes))


def _heading(column: Column) -> str:
    return f"{column.title} (n = {len(column.runs)})" if column.runs else column.title


def _figure(column: Column, key: str) -> str:
    cell, row = column.cells.get(key), ROWS[key]
    if cell is None:
        return ""
    if (column.title, key) in _MARKED:
        return f"{cell.mean} *"
    n = f" (n = {cell.n})" * (bool(column.runs) and cell.n != len(column.runs))
    low, high = cell.mean - (cell.half_width or 0), cell.mean + (cell.half_width or 0)
    if low >= 0 and high <= row.greatest:
        return _with_interval(cell, row.format) + n
    return f"{cell.mean:{row.format}} ({max(low, 0):{row.format}} to {min(high, row.greatest):{row.format}}){n}"


def _said(verdict: Verdict | None, row: Row, basis: str) -> list[str]:
    """The word and the difference; what the difference is over, where that is not ``basis``."""
    if verdict is None or verdict.word in APART:
        return [verdict.word if verdict else "", ""]
    word = verdict.word if verdict.needed is None else f"{verdict.word} (about {verdict.needed:,} pairs)"
    return [word, difference(verdict, row.format) + f" ({verdict.basis})" * (verdict.basis != basis)]


def difference(verdict: Verdict, form: str) -> str:
    """A difference with its interval, in the format of its row; of a ratio in percent."""
    mean, half = verdict.difference.mean, verdict.difference.half_width
    if not verdict.ratio:
        return _with_interval(verdict.difference, f"+z{form}")
    shown, *ends = (f"{100 * math.expm1(min(end, 99)):+.1f}" for end in (mean, mean - (half or 0), mean + (half or 0)))
    return f"{shown}%" if half is None else f"{shown}% ({', '.join(ends)})"


def _with_interval(figure: Estimate, form: str) -> str:
    text = f"{figure.mean:{form}}"
    return text if figure.half_width is None else f"{text} ± {figure.half_width:{form.lstrip('+z')}}"


def _short(value: Any) -> str:
    """A value as text, a commit by its first ten characters."""
    return re.sub(r"\b([0-9a-f]{10})[0-9a-f]{30}\b", r"\1", str(value))
