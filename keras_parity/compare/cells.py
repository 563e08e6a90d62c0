"""The text of each cell of the results table."""

import math

from keras_parity.compare.columns import Column
from keras_parity.compare.intervals import Estimate
from keras_parity.compare.published import is_no_mean
from keras_parity.compare.rows import ROWS, Row
from keras_parity.compare.verdict import APART, Verdict


def heading(column: Column) -> str:
    """The header of a column, with its number of runs."""
    return f"{column.title} (n = {len(column.runs)})" if column.runs else column.title


def figure(column: Column, key: str) -> str:
    """The figure of a column in a row, with its interval; empty if it has none."""
    cell, row = column.cells.get(key), ROWS[key]
    if cell is None:
        return ""
    if is_no_mean(column, key):
        return f"{cell.mean} *"
    n = f" (n = {cell.n})" * (bool(column.runs) and cell.n != len(column.runs))
    half = cell.half_width or 0
    low, high = cell.mean - half, cell.mean + half
    possible = 0 <= cell.mean <= row.greatest  # else, as of a percentage, no end is known to cut at
    if not half or not possible or (low >= 0 and high <= row.greatest):
        return _with_interval(cell, row.format) + n
    return f"{cell.mean:{row.format}} ({max(low, 0):{row.format}} to {min(high, row.greatest):{row.format}}){n}"


def judgement(verdict: Verdict | None, row: Row, basis: str) -> list[str]:
    """The word and the difference; with the difference's own basis if that is not ``basis``."""
    if verdict is None or verdict.word in APART:
        return [verdict.word if verdict else "", ""]
    word = verdict.word if verdict.needed is None else f"{verdict.word} (about {verdict.needed:,} pairs)"
    return [word, difference(verdict, row.format) + f" ({verdict.basis})" * (verdict.basis != basis)]


def difference(verdict: Verdict, form: str) -> str:
    """Formats a difference with its interval.

    Args:
        verdict: The verdict.
        form: Format of the row's figures, such as ``".4f"``; ratios are in percent.
    """
    mean, half = verdict.difference.mean, verdict.difference.half_width
    if not verdict.ratio:
        return _with_interval(verdict.difference, f"+z{form}")
    shown, *ends = map(_percent, (mean, mean - (half or 0), mean + (half or 0)))
    return f"{shown}%" if half is None else f"{shown}% ({', '.join(ends)})"


def _percent(logarithm: float) -> str:
    """The logarithm of a ratio in percent; an end over 1000% (two pairs can give 20 digits) is cut off."""
    return f"{100 * math.expm1(logarithm):+.1f}" if logarithm < math.log(11) else ">+1000"


def _with_interval(figure: Estimate, form: str) -> str:
    text = f"{figure.mean:{form}}"
    return text if figure.half_width is None else f"{text} ± {figure.half_width:{form.lstrip('+z')}}"
