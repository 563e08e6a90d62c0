"""The results tables for a spreadsheet."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from keras_parity.compare.report import headlines, notes, rows, what_differs
from keras_parity.compare.rows import ROWS
from keras_parity.compare.sides import told
from keras_parity.compare.table import Table


def to_csv(tables: Sequence[Table]) -> str:
    """One line for each run: its settings, its environment, and its figures, rounded as printed."""
    runs = [(table, column, run) for table in tables for column in table.columns for run in column.runs]
    known = list(dict.fromkeys(name for *_, run in runs for name in sorted(told(run))))
    keys = [key for key in ROWS if any(key in column.cells for _, column, _ in runs)]
    lines: list[list[Any]] = [["experiment", "column", "run", "framework", "seed", "finished", *known, *keys]]
    for table, column, run in runs:
        of_it = told(run)
        figures = [(ROWS[key].format.lstrip(","), ROWS[key].value(run)) for key in keys]
        lines.append(
            [table.where.rstrip(": "), column.title, run.folder, run.framework, run.seed, run.finished]
            + [of_it.get(name, "") for name in known]
            + ["" if value is None else f"{value:{form}}" for form, value in figures]
        )
    return _csv(lines)


def verdicts_to_csv(tables: Sequence[Table]) -> str:
    """The tables as printed, what differs, and the notes, each in a line's first cell."""
    lines = [[line] for line in headlines(tables)]
    for table in tables:
        lines += [*[[table.title]] * bool(table.title), *rows(table), []]
    return _csv([*lines, *what_differs(tables), [], *([note] for note in notes(tables))])


def _csv(lines: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
