"""What a user demands of the results: read from the flags, checked against the tables."""

import math
import operator
import re
from collections.abc import Sequence

from cnn_mnist.errors import UserError
from keras_parity.compare.rows import ROWS
from keras_parity.compare.table import Table

_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def known(tag: str, flag: str) -> None:
    """Raises ``UserError`` unless the tag is that of a row."""
    if tag not in ROWS:
        raise UserError(f"{flag}: expected one of the tags {', '.join(ROWS)}, got {tag}")


def demand(text: str) -> tuple[str, str, float]:
    """Reads ``'test/acc >= 0.985'`` as tag, comparison and bound.

    Raises:
        UserError: It is no such thing.
    """
    match = re.fullmatch(r"\s*(\S+?)\s*(>=|<=|>|<)\s*(\S+)\s*", text)
    tag, comparison, bound = match.groups() if match else ("", "", "")
    number = _number(bound)
    if math.isnan(number):
        raise UserError(f"--require: expected TAG, comparison and number, such as 'test/acc >= 0.985', got {text}")
    known(tag, "--require")
    return tag, comparison, number


def limit(text: str, flag: str) -> tuple[str, float]:
    """Reads ``'test/acc=0.003'`` as tag and greatest difference.

    Raises:
        UserError: It is no such thing.
    """
    tag, _, bound = text.partition("=")
    number = _number(bound)
    if not number >= 0:
        raise UserError(f"{flag}: expected TAG=NUMBER, 0 or more, such as test/acc=0.003, got {text}")
    known(tag.strip(), flag)
    return tag.strip(), number


def alias(text: str) -> tuple[str, str]:
    """Reads ``'test/acc=my_accuracy'`` as tag and its other name.

    Raises:
        UserError: It is no such thing.
    """
    tag, _, other = text.partition("=")
    if not other:
        raise UserError(f"--alias: expected TAG=NAME, such as test/acc=my_accuracy, got {text}")
    known(tag, "--alias")
    return tag, other


def unmet(tables: Sequence[Table], tag: str, comparison: str, bound: float) -> list[str]:
    """The columns of all tables that have not what is demanded, in words."""
    columns = [column for table in tables for column in table.columns if column.runs]
    missing = [f"{column.title} has no {tag}" for column in columns if tag not in column.cells]
    return missing + [
        f"{column.title} {tag} = {column.cells[tag].mean:.6g}, required {comparison} {bound:g}"
        for column in columns
        if tag in column.cells and not _COMPARISONS[comparison](column.cells[tag].mean, bound)
    ]


def too_far(tables: Sequence[Table], tag: str, limit: float) -> list[str]:
    """The tables whose frameworks are further apart, in words; without any difference at all, that."""
    found = {table.title: table.verdicts.get(tag) for table in tables if table.verdicts} or {"": None}
    failed = []
    for title, verdict in found.items():
        where = f"{title}: " if title else ""
        if verdict is None:
            failed.append(f"{where}no difference of {tag}: one column of each framework is needed")
        elif not abs(verdict.difference.mean) <= limit:
            failed.append(f"{where}{tag} differs by {verdict.difference.mean:+.6g}, allowed {limit:g}")
    return failed


def _number(text: str) -> float:
    """NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
