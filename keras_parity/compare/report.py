"""The results table, as text, Markdown and HTML."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import IO

from cnn_mnist.console.tables import markdown_table, natural_width, print_table, print_text, terminal_width, unbroken
from cnn_mnist.neutral import markdown_text
from keras_parity.compare import cells
from keras_parity.compare.columns import Column, Comparison
from keras_parity.compare.hardware import lacking_gpu
from keras_parity.compare.rows import ROWS
from keras_parity.compare.verdict import Verdict
from keras_parity.logs.run import hashable

_SET_BY_COMMANDS = {"openmp.GOMP_SPINCOUNT"}
"""Each command sets these for its own framework; the user does not choose them."""


@dataclass(frozen=True, repr=False)
class Table:
    """One experiment; a single table also holds unfinished runs. ``print`` shows it as text, a notebook as HTML.

    Attributes:
        title: The number of the experiment, and the settings in which it differs from the others; empty for a single
            table.
        columns: The columns of runs, then published Keras and published PyTorch if they belong to this experiment.
        comparisons: Each further column of finished runs compared with the first, such as PyTorch with Keras.
        notes: What a reader must know, one line each.
    """

    title: str
    columns: list[Column]
    comparisons: list[Comparison]
    notes: list[str]

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict of each row, second column against first; empty without two columns of finished runs."""
        return self.comparisons[0].verdicts if self.comparisons else {}

    @property
    def where(self) -> str:
        """The beginning of a line about this table; empty for a single table."""
        return self.title.partition(":")[0] + ": " if self.title else ""

    def about(self, comparison: Comparison) -> str:
        """The beginning of a line about a comparison; the compared column has a name if there are several."""
        return self.where + f"{comparison.second.side}: " * (len(self.comparisons) > 1)

    def __repr__(self) -> str:
        runs = [run for column in self.columns for run in column.runs]
        name = self.title or (runs[0].settings.get("model.architecture", "unknown settings") if runs else "published")
        counts = ", ".join(f"{len(column.runs)} {column.title}" for column in self.columns if column.runs)
        return f"Table({name}: {counts} runs)"

    def __str__(self) -> str:
        return to_text([self])

    def _repr_html_(self) -> str:
        """The table as a notebook shows it; the notes unfold below it."""
        differences = "".join(map(html_table, filter(None, [what_differs([self])])))
        folded = "".join(f"<li>{escape(note)}</li>" for note in notes([self]))
        details = f"<details><summary>notes</summary><ul>{folded}</ul></details>" if folded else ""
        return f"<b>{escape(self.title)}</b>{html_table(rows(self))}{differences}{details}"


def rows(table: Table) -> list[list[str]]:
    """The cells of the table, header first: title, verdict, difference, then the figure of each column."""
    head, bases = [""], []
    for comparison in table.comparisons:
        bases.append(next((verdict.basis for verdict in comparison.verdicts.values() if verdict.basis), ""))
        prefix = table.about(comparison).removeprefix(table.where)
        head += [f"{prefix}verdict", f"difference ({bases[-1]})"]
    body = [head + [cells.heading(column) for column in table.columns]]
    for key, row in ROWS.items():
        if any(key in column.cells for column in table.columns):
            compared = zip(table.comparisons, bases, strict=True)
            judged = [text for part, basis in compared for text in cells.judgement(part.verdicts.get(key), row, basis)]
            body.append([row.title, *judged, *(cells.figure(column, key) for column in table.columns)])
    return body


def headlines(tables: Sequence[Table]) -> list[str]:
    """Warnings above the tables: that only some frameworks had a GPU."""
    alarm = lacking_gpu([run for table in tables for column in table.columns if column.finished for run in column.runs])
    return [alarm] if alarm else []


def print_tables(tables: Sequence[Table], file: IO[str] | None = None) -> None:
    """Prints the tables, what differs in settings and environment, and the notes.

    Args:
        tables: The tables. If the terminal is too narrow for one, its published columns are printed below the others;
            if that is not enough, its comparisons are printed one below the other.
        file: The stream to print to; None for standard output.
    """
    for line in headlines(tables):
        print_text(f"{line}\n", file, style="bold")
    for table in tables:
        for part in _parts(table):
            print_table(rows(part), part.title or "results", file)
    if differences := what_differs(tables):
        print_table(differences, "what differs", file)
    for note in notes(tables):
        print_text(note, file)


def to_text(tables: Sequence[Table]) -> str:
    """The output of ``print_tables``, as a string."""
    text = io.StringIO()
    print_tables(tables, text)
    return text.getvalue()


def to_markdown(tables: Sequence[Table]) -> str:
    """The tables, what differs in settings and environment, and the notes, in Markdown."""
    parts = list(map(markdown_text, headlines(tables)))
    for table in tables:
        parts += [f"### {markdown_text(table.title)}"] if table.title else []
        parts.append(markdown_table(rows(table)))
    if differences := what_differs(tables):
        parts.append("What differs:\n\n" + markdown_table(differences))
    parts += map(markdown_text, notes(tables))
    return "\n\n".join(parts) + "\n"


def html_table(lines: Sequence[Sequence[str]]) -> str:
    """A table in HTML; the first line is its header, the first cell of each line names the row."""
    header, *body = [[escape(unbroken(cell)) for cell in cells] for cells in lines]
    head = "".join(f"<th>{cell}</th>" for cell in header)
    named = [f"<th>{first}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) for first, *cells in body]
    return f"<table><thead><tr>{head}</tr></thead>\n" + "\n".join(f"<tr>{line}</tr>" for line in named) + "</table>"


def _parts(table: Table) -> list[Table]:
    """The table; if the terminal is too narrow for it, without its published columns, or comparison by comparison."""
    of_runs, published = ([column for column in table.columns if bool(column.runs) == runs] for runs in (True, False))
    parts = [table]
    if not _fits(table):
        parts, apart = [replace(table, columns=of_runs)], {"published": published}
        if len(table.comparisons) > 1 and not _fits(parts[0]):
            parts = [
                replace(table, title=_title(table, part), columns=[part.first, part.second], comparisons=[part])
                for part in table.comparisons
            ]
            apart = {"unfinished": [column for column in of_runs if not column.finished], **apart}
        parts += [replace(table, title=title, columns=some, comparisons=[]) for title, some in apart.items() if some]
    return parts


def _title(table: Table, part: Comparison) -> str:
    return ", ".join(filter(None, [table.title, f"{part.second.side} minus {part.first.side}"]))


def _fits(table: Table) -> bool:
    return natural_width(rows(table)) <= terminal_width()


def what_differs(tables: Sequence[Table]) -> list[list[str]]:
    """The settings and the parts of the environment in which the runs differ, by column; empty if there are none.

    A column without known settings, such as a column of other code's logs, has an empty cell.
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
    """The notes of all tables, each once."""
    return list(dict.fromkeys(note for table in tables for note in table.notes))


def _short(value: object) -> str:
    """A value as text; commits are cut to ten characters."""
    return re.sub(r"\b([0-9a-f]{10})[0-9a-f]{30}\b", r"\1", str(value))
