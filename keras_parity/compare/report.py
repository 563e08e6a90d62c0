"""A results table, and how it is printed."""

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import IO

from cnn_mnist.console.tables import markdown_table, natural_width, print_table, print_text, terminal_width
from keras_parity.compare.columns import Column, Comparison
from keras_parity.compare.hardware import lacking_gpu
from keras_parity.compare.published import is_no_mean
from keras_parity.compare.rows import ROWS, Row
from keras_parity.compare.verdict import APART, Estimate, Verdict
from keras_parity.logs.run import hashable

_SET_BY_COMMANDS = {"openmp.GOMP_SPINCOUNT"}
"""Each command sets these for its own framework; they are no choice of the user's."""


@dataclass(frozen=True, repr=False)
class Table:
    """One experiment, or all runs where each side has finished but one; ``print`` shows it as text.

    Attributes:
        title: Its number, and the settings that make it another experiment than the other tables; empty for a single
            table.
        columns: Today's, then published Keras and published PyTorch where they are of this experiment.
        comparisons: Each further column of finished runs against the first: PyTorch against Keras.
        notes: What a reader must know, one line each.
    """

    title: str
    columns: list[Column]
    comparisons: list[Comparison]
    notes: list[str]

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The second column against the first by row; empty where there are no two of finished runs."""
        return self.comparisons[0].verdicts if self.comparisons else {}

    @property
    def where(self) -> str:
        """What a line about one of several tables begins with."""
        return self.title.partition(":")[0] + ": " if self.title else ""

    def __repr__(self) -> str:
        runs = [run for column in self.columns for run in column.runs]
        name = self.title or (runs[0].settings.get("model.architecture", "unknown settings") if runs else "published")
        counts = ", ".join(f"{len(column.runs)} {column.title}" for column in self.columns if column.runs)
        return f"Table({name}: {counts} runs)"

    def __str__(self) -> str:
        return to_text([self])


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
    if is_no_mean(column, key):
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


def _short(value: object) -> str:
    """A value as text, a commit by its first ten characters."""
    return re.sub(r"\b([0-9a-f]{10})[0-9a-f]{30}\b", r"\1", str(value))
