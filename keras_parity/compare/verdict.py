"""Judges whether two columns have the same figures, by interval and margin; computes the number of pairs needed."""

import math
from bisect import bisect_left
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from keras_parity.compare.intervals import ALPHA, Estimate, Reach, student

FEWEST = 3
"""With fewer pairs of runs, the verdict is *undetermined*."""

POWER = 0.8
"""Probability with which the reported number of pairs would decide."""

_MOST = 10**6


class Word(StrEnum):
    """What a verdict says, as printed; the last three of a row of times whose sides cannot be compared."""

    SAME = "same"
    SAME_NOT_EQUAL = "same, but not equal"
    DIFFERENT = "different"
    DIFFERENT_SLIGHTLY = "different, perhaps slightly"
    UNDETERMINED = "undetermined"
    OTHER_HARDWARE = "other hardware"
    UNKNOWN_HARDWARE = "unknown hardware"
    OTHER_CLOCK = "other clock"


APART = (Word.OTHER_HARDWARE, Word.UNKNOWN_HARDWARE, Word.OTHER_CLOCK)
"""Verdicts without a difference."""

MEANINGS: dict[Word, str] = {
    Word.SAME: "the whole interval is inside the margin",
    Word.SAME_NOT_EQUAL: "the interval is inside the margin and excludes zero",
    Word.DIFFERENT: "the interval is beyond the margin",
    Word.DIFFERENT_SLIGHTLY: "the interval excludes zero and crosses the margin",
    Word.UNDETERMINED: "no other verdict applies; more pairs of runs would decide",
}
"""What each word says about the interval of the difference; with too few pairs there is no interval."""


class Verdict(NamedTuple):
    """The judgement of a difference.

    Attributes:
        difference: Second minus first, of natural logarithms if ``ratio``; NaN if they cannot be compared.
        margin: Largest difference that counts as same, on the same scale.
        word: The verdict.
        needed: Approximate number of pairs that would decide; None if the present pairs decide, or if no number would.
        level: Confidence level of the interval, such as 0.95.
        ratio: Whether the ratio is judged instead of the difference.
        basis: The runs that the difference is computed from, such as "10 pairs".
    """

    difference: Estimate
    margin: float
    word: Word
    needed: int | None = None
    level: float = 1 - ALPHA
    ratio: bool = False
    basis: str = ""


def judge(
    difference: Estimate, margin: float, alpha: float = ALPHA, reach: Reach = student, fewest: int = FEWEST
) -> tuple[Word, int | None]:
    """Judges a difference by its interval; the word is true whenever the interval contains the true difference.

    *same*: the interval is inside the margin (Schuirmann's two one-sided tests, 1987), *but not equal* if it excludes
    zero; *different*: it excludes zero and is outside the margin, *perhaps slightly* if it crosses the margin;
    *undetermined*: everything else, and fewer than ``fewest`` pairs.

    Args:
        difference: The difference, with its interval if it has one.
        margin: Largest absolute difference that counts as same.
        alpha: Error rate of the interval.
        reach: Kind of the interval.
        fewest: With fewer pairs, the word is *undetermined*.

    Returns:
        The word, and if it is *undetermined*, the approximate number of pairs that would decide.
    """
    distance, half_width = abs(difference.mean), difference.half_width
    if half_width is not None and math.isfinite(distance + half_width) and difference.n >= fewest:
        if distance + half_width <= margin:
            return Word.SAME if distance <= half_width else Word.SAME_NOT_EQUAL, None
        if distance > half_width:
            return Word.DIFFERENT if distance - half_width >= margin else Word.DIFFERENT_SLIGHTLY, None
    return Word.UNDETERMINED, pairs_needed(difference, margin, alpha, reach)


def pairs_needed(difference: Estimate, margin: float, alpha: float = ALPHA, reach: Reach = student) -> int | None:
    """The smallest number of pairs that decides with 80% power, if the estimated mean and spread are the true ones.

    Args:
        difference: The difference, with its spread.
        margin: Largest absolute difference that counts as same.
        alpha: Error rate of the interval.
        reach: Kind of the interval.

    Returns:
        The number; None if the spread is unknown, or no number up to a million is enough.
    """
    from scipy.special import gammaincinv, ndtr

    mean, spread = difference.mean, difference.spread
    if not spread or not math.isfinite(mean + spread):
        return None
    quantiles = (np.arange(200) + 0.5) / 200

    def power(n: int) -> float:
        error = spread / math.sqrt(n)
        spreads = error * np.sqrt(2 * gammaincinv((n - 1) / 2, quantiles) / (n - 1))  # which n pairs may show
        half_width = reach(n - 1, alpha) * spreads
        inside = np.clip(margin - half_width, 0, half_width)
        undecided = [ndtr((s * half_width - mean) / error) - ndtr((s * inside - mean) / error) for s in (1, -1)]
        return 1 - float(np.mean(np.abs(undecided).sum(axis=0)))

    n = FEWEST + bisect_left(range(FEWEST, _MOST), POWER, key=power)
    return n if n < _MOST else None
