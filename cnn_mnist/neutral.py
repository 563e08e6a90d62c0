"""Neutralizes text of other people for the place where it appears: a terminal, a spreadsheet or Markdown."""

import codecs
import csv
import io
import re
from collections.abc import Iterable
from typing import IO, Any

_SIMILAR = {
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{MINUS SIGN}": "-",
    "\N{EN DASH}": "-",
    "\N{BOX DRAWINGS LIGHT HORIZONTAL}": "-",
    "\N{BOX DRAWINGS HEAVY HORIZONTAL}": "-",
    "\N{BOX DRAWINGS LIGHT VERTICAL}": "|",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{MIDDLE DOT}": ".",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{NO-BREAK SPACE}": " ",
}

_FORMULA = re.compile(r"[=+\-@\t\r]")
_FIGURE = re.compile(r"[-+](?:[\d.,]+(?:e[-+]?\d+)?|inf|nan)%?(?:$| ± | \()", re.IGNORECASE)


def printable(text: object) -> str:
    r"""Returns a text whose control characters are visible, such as ``\x1b``, so that no terminal obeys them.

    Line breaks, tabs and no-break spaces stay.
    """
    found = str(text)
    if found.isprintable():
        return found
    kept = "\n\t\N{NO-BREAK SPACE}"
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in found)


def say(text: object, file: IO[str] | None = None) -> None:
    """Prints a text that may contain names of other people's files and settings."""
    print(printable(text), file=file)


def any_encoding(stream: Any) -> None:
    """Lets a stream print characters that its encoding lacks: signs and box lines as similar ASCII, others as ``?``."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="similar")


def csv_cell(value: Any) -> Any:
    """Returns a cell that no spreadsheet takes for a formula: a text like ``=1+1`` gets an apostrophe before it."""
    if not isinstance(value, str):
        return value if value is None or isinstance(value, bool | int | float) else csv_cell(str(value))
    text = printable(value)
    return f"'{text}" if _FORMULA.match(value) and not _FIGURE.match(value) else text


def csv_text(lines: Iterable[Iterable[object]]) -> str:
    """Returns the content of a CSV file with these lines of cells."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(csv_cell, line) for line in lines)
    return text.getvalue()


def markdown_text(text: str) -> str:
    """Returns one line of text without HTML, links or emphasis, and without the ends of a table's cells."""
    line = " ".join(printable(text).splitlines()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*|]|\](?=\())", r"\\\1", line)


def _similar(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    return "".join(_SIMILAR.get(c, "?") for c in error.object[error.start : error.end]), error.end


codecs.register_error("similar", _similar)
