"""Prints tables of strings in the terminal and in Markdown."""

import re
import sys
from collections.abc import Iterable, Sequence
from textwrap import wrap
from typing import IO, TYPE_CHECKING

from rich.cells import cell_len

from cnn_mnist.neutral import any_encoding, markdown_text, printable

if TYPE_CHECKING:
    from rich.console import Console

Rows = Sequence[Sequence[str]]

_GAP = 2
_HANGING = "    "
# The spaces inside `0.9921 ± 0.0007`, `320 = (3*3*1+1)*32`, `n = 10`, `0.0230 *` and `(-14.5, +25.7)`.
_INSIDE_FIGURE = re.compile(r" (?=[±=*](?: |$))|(?<= [±=]) |(?<=\d,) (?=[-+>]\S)")
_FIGURE = re.compile(r"[-+]?(?:\d|nan|inf)|-?$")


def markdown_table(rows: Rows) -> str:
    """Formats rows as a Markdown table; the first row is the header. What Markdown would interpret is escaped."""
    header, *body = [list(map(markdown_text, cells)) for cells in rows]
    lines = [header, ["---"] * len(header), *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def print_table(rows: Rows, title: str = "", file: IO[str] | None = None) -> None:
    """Prints a table no wider than the terminal, followed by an empty line.

    Cells wrap at spaces, never inside a word or figure. If that is not enough, each row becomes lines of
    ``header: cell``.

    Args:
        rows: The header, then the body. Columns of figures are aligned to the right.
        title: A line above the table.
        file: Output file; standard output by default.
    """
    from rich import box
    from rich.table import Table

    console, rows = _console(file), [list(map(printable, cells)) for cells in rows]
    header, *body = rows
    print_text(title, file, style="bold")
    room = console.width - _GAP * (len(header) - 1)
    widths = _widths(rows, room)
    if sum(widths) > room:
        for first, *others in body:
            cells = [f"  {name}: {cell}" for name, cell in zip(header[1:], others, strict=True) if cell]
            print_text("\n".join([f"{header[0]} {first}".strip(), *cells, ""]), file)
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, _GAP - 1, 0, 0))
    for name, width, *column in zip(header, widths, *body, strict=True):
        figures = all(map(_FIGURE.match, column))
        table.add_column("\n".join(wrapped(name, width)), justify="right" if figures else "left", no_wrap=True)
    for row in body:
        table.add_row(*("\n".join(wrapped(cell, width)) for cell, width in zip(row, widths, strict=True)))
    console.print(table)
    console.print()


def print_text(text: str, file: IO[str] | None = None, style: str = "") -> None:
    """Prints a text wrapped at spaces to the width of the terminal; prints nothing for an empty text."""
    console = _console(file)
    for line in printable(text).split("\n") if text else ():
        for part in wrapped(line, console.width, _HANGING) or [""]:
            console.print(part, style=style, soft_wrap=True)


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Splits a text into lines of at most ``width``, longer only for a single word or figure; indents later lines."""
    lines = wrap(unbroken(text), width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def unbroken(text: str) -> str:
    """Replaces the spaces inside figures by no-break spaces."""
    return _INSIDE_FIGURE.sub("\N{NO-BREAK SPACE}", text)


def natural_width(rows: Rows) -> int:
    """Returns the width of a table in characters if only its headers wrap."""
    return sum(_body_widths(rows)) + _GAP * (len(rows[0]) - 1)


def terminal_width() -> int:
    """Returns the width of the terminal in characters: ``COLUMNS`` if set, otherwise 80 without a terminal."""
    return _console().width


def _console(file: IO[str] | None = None) -> "Console":
    from rich.console import Console

    any_encoding(file or sys.stdout)
    return Console(file=file, markup=False, emoji=False, highlight=False, force_jupyter=False)


def _widths(rows: Rows, room: int) -> list[int]:
    """Chooses column widths: unwrapped if they fit, otherwise headers wrap, then the widest columns shrink."""
    widths = [max(1, *map(cell_len, column)) for column in zip(*rows, strict=True)]
    if sum(widths) > room:
        widths = _body_widths(rows)
    least = [_longest_word(column) for column in zip(*rows, strict=True)]
    while sum(widths) > room and widths != least:
        widest = max(range(len(widths)), key=lambda place: (widths[place] > least[place], widths[place]))
        widths[widest] -= 1
    return widths


def _body_widths(rows: Rows) -> list[int]:
    return [max([_longest_word([name]), *map(cell_len, column)]) for name, *column in zip(*rows, strict=True)]


def _longest_word(cells: Iterable[str]) -> int:
    return max((cell_len(line) for cell in cells for line in wrapped(cell, 1)), default=1)
