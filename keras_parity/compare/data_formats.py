"""The results tables as data: CSV and JSON."""

import json
import math
from collections.abc import Sequence
from typing import Any

from cnn_mnist.neutral import csv_text
from keras_parity.compare.intervals import Estimate
from keras_parity.compare.report import Table, headlines, notes, rows, what_differs
from keras_parity.compare.rows import ROWS
from keras_parity.compare.sides import known_settings
from keras_parity.compare.verdict import Verdict


def to_csv(tables: Sequence[Table]) -> str:
    """CSV with a line for each run: its settings, its environment, and its figures, rounded as printed."""
    runs = [(table, column, run) for table in tables for column in table.columns for run in column.runs]
    known = list(dict.fromkeys(name for *_, run in runs for name in sorted(known_settings(run))))
    keys = [key for key in ROWS if any(key in column.cells for _, column, _ in runs)]
    lines: list[list[object]] = [["experiment", "column", "run", "framework", "seed", "finished", *known, *keys]]
    for table, column, run in runs:
        settings = known_settings(run)
        figures = [(ROWS[key].format.lstrip(","), ROWS[key].value(run)) for key in keys]
        about = [table.where.rstrip(": "), column.title, run.folder, run.framework, run.seed, run.finished]
        rounded = ["" if value is None else f"{value:{form}}" for form, value in figures]
        lines.append([*about, *(settings.get(name, "") for name in known), *rounded])
    return csv_text(lines)


def verdicts_to_csv(tables: Sequence[Table]) -> str:
    """CSV of the tables as printed, what differs, and the notes, each note in the first cell of a line."""
    lines = [[line] for line in headlines(tables)]
    for table in tables:
        lines += [*[[table.title]] * bool(table.title), *rows(table), []]
    return csv_text([*lines, *what_differs(tables), [], *([note] for note in notes(tables))])


def to_json(tables: Sequence[Table]) -> str:
    """JSON of the figures in full precision, with verdicts, runs, settings and notes."""
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
    others = {part.second.title: verdict for part, verdict in zip(table.comparisons[1:], verdicts[1:], strict=True)}
    return {
        "title": table.title,
        "columns": columns,
        "verdicts": verdicts[0] if verdicts else {},
        **({"verdicts of others": others} if others else {}),
    }


def _jsonable(value: Any) -> Any:
    """Named tuples as mappings, and null for NaN and infinities, which JSON does not have."""
    if isinstance(value, Estimate | Verdict):
        return {name: _jsonable(field) for name, field in value._asdict().items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
