"""What a user demands of the results: read from the flags, checked against the tables."""

import math
import operator
import re
from collections.abc import Sequence

from cnn_mnist.errors import UserError
from keras_parity.compare.report import Table
from keras_parity.compare.rows import ROWS
from keras_parity.compare.verdict import APART

_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


_NUMBER = r"(\d*\.?\d+(?:e[-+]?\d+)?)"
_LIMIT = rf"(\S+?)\s*(=)\s*{_NUMBER}", "TAG=NUMBER, 0 or more, such as test/acc=0.003"
_FLAGS = {
    "require": (
        rf"(\S+?)\s*(>=|<=|>|<)\s*([-+]?{_NUMBER})",
        "TAG, comparison and number, such as 'test/acc >= 0.985'",
    ),
    "max_difference": _LIMIT,
    "margin": _LIMIT,
    "alias": (r"(\S+?)(=)(.+)", "TAG=NAME, such as test/acc=my_accuracy"),
    "framework": (r"(.+)(:)(pytorch|keras)", "PATTERN:pytorch or PATTERN:keras, such as runs/torch*:pytorch"),
}
"""What each flag takes, as a pattern and in words."""


def read(flag: str, text: str) -> tuple[str, str, str]:
    """Reads what a flag was given, such as ``'test/acc >= 0.985'``, as tag, sign and what stands behind it.

    Raises:
        UserError: It is no such thing.
    """
    pattern, expected = _FLAGS[flag]
    match = re.fullmatch(pattern, text.strip())
    if not match:
        raise UserError(f"--{flag}: expected {expected}, got {text}")
    if flag != "framework" and match[1] not in ROWS:
        raise UserError(f"--{flag}: expected one of the tags {', '.join(ROWS)}, got {match[1]}")
    return match[1], match[2], match[3]


def unmet(tables: Sequence[Table], tag: str, comparison: str, bound: float) -> list[str]:
    """The columns of finished runs that have not what is demanded, in words; without any such column, that."""
    columns = [column for table in tables for column in table.columns if column.finished]
    failed = [] if columns else [f"{tag} {comparison} {bound:g}: no run has finished"]
    for column in columns:
        if tag not in column.cells:
            failed.append(f"{column.title} has no {tag}")
        elif not _COMPARISONS[comparison](mean := column.cells[tag].mean, bound):
            failed.append(f"{column.title} {tag} = {mean:.6g}, required {comparison} {bound:g}")
    return failed


def too_far(tables: Sequence[Table], tag: str, limit: float) -> list[str]:
    """Where columns are further apart, or were not compared, in words; tables without a finished run are passed over.

    Of a row that is judged by the ratio, the limit is a part: 0.1 is 10%.
    """
    failed, finished = [], [table for table in tables if any(column.finished for column in table.columns)]
    if not finished:
        failed.append(f"no difference of {tag}: no run has finished")
    for table in finished:
        if not table.comparisons:
            failed.append(f"{table.where}no difference of {tag}: two columns of finished runs are needed")
        for comparison in table.comparisons:
            who = f"{table.where}{comparison.second.side}: " if len(table.comparisons) > 1 else table.where
            verdict = comparison.verdicts.get(tag)
            if verdict is None or verdict.word in APART:
                reason = verdict.word if verdict else "not both columns have it"
                failed.append(f"{who}no difference of {tag}: {reason}")
            elif not abs(mean := verdict.difference.mean) <= ROWS[tag].limit(limit):
                apart = math.expm1(mean) if verdict.ratio else mean
                failed.append(f"{who}{tag} differs by {apart:+.6g}, allowed {limit:g}")
    return failed
