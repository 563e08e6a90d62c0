"""The requirements of the flags: reads them, and checks the tables."""

import math
import operator
import re
from collections.abc import Sequence

from cnn_mnist.errors import UserError, expect
from keras_parity.compare.report import Table
from keras_parity.compare.rows import ROWS
from keras_parity.compare.sides import TITLES
from keras_parity.compare.verdict import APART

_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}

_NUMBER, _NAMES = r"(\d*\.?\d+(?:e[-+]?\d+)?)", ", ".join(TITLES)
_BOUND = rf"(\S+?)\s*(>=|<=|>|<)\s*([-+]?{_NUMBER})", "TAG, comparison and number, such as 'test/acc >= 0.985'"
_LIMIT = rf"(\S+?)\s*(=)\s*{_NUMBER}", "TAG=NUMBER, 0 or more, such as test/acc=0.003"
_NAME = r"(\S+?)(=)(.+)", "TAG=NAME, such as test/acc=my_accuracy"
_SIDE = rf"(.+)(:)({'|'.join(TITLES)})", f"PATTERN:FRAMEWORK with one of {_NAMES}, such as runs/torch*:pytorch"
FLAGS = {
    "require": ("Fail unless this holds, such as 'test/acc >= 0.985'.", *_BOUND),
    "max_difference": ("Fail if the difference is larger, such as 'test/acc=0.003'.", *_LIMIT),
    "margin": ("Margin of a row: differences up to it count as same, such as 'test/acc=0.002'.", *_LIMIT),
    "alias": ("Show another tag in a row, such as 'test/acc=my_accuracy'.", *_NAME),
    "framework": ("Framework of the runs whose folders match a pattern, such as 'runs/torch*:pytorch'.", *_SIDE),
}
"""Help of each flag, pattern of its value, and what the pattern expects."""


def read(flag: str, text: str) -> tuple[str, str, str]:
    """Parses the value of a flag, such as ``'test/acc >= 0.985'``.

    Args:
        flag: Name of the flag.
        text: Its value.

    Returns:
        Tag, sign, and the text after the sign.

    Raises:
        UserError: The value does not match, or the tag is no row of the table.
    """
    _, pattern, expected = FLAGS[flag]
    match = re.fullmatch(pattern, text.strip())
    if not match:
        raise UserError(f"--{flag}: expected {expected}, got {text}")
    expect(f"--{flag}", flag == "framework" or match[1] in ROWS, f"one of the tags {', '.join(ROWS)}", match[1])
    return match[1], match[2], match[3]


def unmet(tables: Sequence[Table], tag: str, comparison: str, bound: float) -> list[str]:
    """Describes each column of finished runs that does not meet a requirement; without such columns, says that."""
    columns = [column for table in tables for column in table.columns if column.finished]
    failed = [] if columns else [f"{tag} {comparison} {bound:g}: no run has finished"]
    for column in columns:
        if tag not in column.cells:
            failed.append(f"{column.title} has no {tag}")
        elif not _COMPARISONS[comparison](mean := column.cells[tag].mean, bound):
            failed.append(f"{column.title} {tag} = {mean:.6g}, required {comparison} {bound:g}")
    return failed


def too_far(tables: Sequence[Table], tag: str, limit: float) -> list[str]:
    """Describes each difference beyond a limit, and each missing comparison; ignores tables without finished runs.

    Args:
        tables: The tables.
        tag: The row.
        limit: Largest difference allowed; for rows judged by their ratio, 0.1 means 10%.

    Returns:
        One line for each failure.
    """
    failed, finished = [], [table for table in tables if any(column.finished for column in table.columns)]
    if not finished:
        failed.append(f"{tag} not compared: no run has finished")
    for table in finished:
        if not table.comparisons:
            failed.append(f"{table.where}{tag} not compared: two columns of finished runs are needed")
        for comparison in table.comparisons:
            verdict = comparison.verdicts.get(tag)
            if verdict is None or verdict.word in APART:
                reason = verdict.word if verdict else "a column does not have it"
                failed.append(f"{table.about(comparison)}{tag} not compared: {reason}")
            elif not abs(mean := verdict.difference.mean) <= ROWS[tag].limit(limit):
                measured = math.expm1(mean) if verdict.ratio else mean
                failed.append(f"{table.about(comparison)}{tag} differs by {measured:+.6g}, allowed {limit:g}")
    return failed
