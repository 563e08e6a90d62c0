"""Whether the figures of two columns are the same: intervals, a margin of equivalence, the pairs that would decide."""

import math
from bisect import bisect_left
from collections.abc import Callable, Hashable, Mapping, Sequence
from enum import StrEnum
from statistics import fmean
from typing import NamedTuple

import numpy as np

ALPHA = 0.05
"""How often an interval may miss; that of a column, and of the row that a table is made for."""

FEWEST = 3
"""Pairs of runs under which no word is given."""

POWER = 0.8
"""How often the number of pairs that is named would decide."""

_MOST = 10**6

Reach = Callable[[float, float], float]
"""Half width of an interval in standard errors, by degrees of freedom and by how often it may miss."""


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
    Word.UNDETERMINED: "none of these; more pairs of runs would decide",
}
"""What each word says of a difference's interval; of too few pairs there is none."""


class Estimate(NamedTuple):
    """A figure, or the difference of two.

    Attributes:
        mean: Over the runs, or the figure itself.
        half_width: Half of the interval of the mean; None where there are too few runs for one.
        n: Number of runs; of a difference, of pairs, or of runs on the side that has fewer.
        spread: The standard error times the root of n; None as the half width is.
    """

    mean: float
    half_width: float | None = None
    n: int = 1
    spread: float | None = None


class Verdict(NamedTuple):
    """What runs say about a difference.

    Attributes:
        difference: Second minus first; of logarithms where ``ratio``; NaN where they cannot be compared.
        margin: Greatest difference that counts as none, on the same scale.
        word: What the interval and the margin decide.
        needed: About how many pairs of runs would decide; None where they have decided, or no number would.
        level: That of the interval, such as 0.95.
        ratio: Whether the difference is that of the natural logarithms.
        basis: What the difference is taken over, such as "10 pairs".
    """

    difference: Estimate
    margin: float
    word: Word
    needed: int | None = None
    level: float = 1 - ALPHA
    ratio: bool = False
    basis: str = ""


def student(freedom: float, alpha: float) -> float:
    """Student's t (1908): for a number of runs that is fixed beforehand."""
    from scipy.special import stdtrit  # of scipy.stats it would take a second to import

    return float(stdtrit(freedom, 1 - alpha / 2))


def always_valid(freedom: float, alpha: float) -> float:
    """For a study that is looked at after every pair: all its intervals together miss with probability ``alpha``.

    A confidence sequence for the mean of Gaussian differences of unknown variance, from Lai's scale-invariant mixture
    (1976) over effect sizes of variance 1, which is the Bayes factor of the t test with the right Haar measure on the
    deviation (Wang and Ramdas, *Anytime-valid t-tests and confidence sequences for Gaussian means with unknown
    variance*, 2024). It is infinite for the first four pairs, and over unpaired runs an approximation.
    """
    n = freedom + 1
    ratio = (math.sqrt(n + 1) / alpha) ** (2 / n)
    rest = 1 - ratio / (n + 1)
    return math.sqrt(freedom * (ratio - 1) / rest) if rest > 0 else math.inf


def estimate(values: Sequence[float], floor: float = 0.0, alpha: float = ALPHA, reach: Reach = student) -> Estimate:
    """Mean and interval, with at least two values.

    Args:
        values: At least one.
        floor: Least standard deviation that they can be known to have: equal figures were rounded.
        alpha: How often the interval may miss.
        reach: Which interval.
    """
    n, mean = len(values), fmean(values)
    if n < 2:
        return Estimate(mean)
    return _interval(mean, _variance(values, floor) / n, n, reach(n - 1, alpha))


def difference(
    first: Mapping[Hashable, float],
    second: Mapping[Hashable, float],
    floor: float = 0.0,
    alpha: float = ALPHA,
    reach: Reach = student,
) -> Estimate:
    """Second minus first: pair by pair where every seed has its partner, else by Welch (1947) over all runs.

    Args:
        first: Figures by seed, at least one.
        second: Likewise.
        floor: As in ``estimate``, of one figure.
        alpha: How often the interval may miss.
        reach: Which interval.
    """
    if first.keys() == second.keys():
        return estimate([second[seed] - first[seed] for seed in first], math.sqrt(2) * floor, alpha, reach)
    sides = [list(side.values()) for side in (first, second)]
    mean, n = fmean(sides[1]) - fmean(sides[0]), min(map(len, sides))
    if n < 2:
        return Estimate(mean, None, n)
    parts = [(_variance(values, floor) / len(values), len(values) - 1) for values in sides]
    total = sum(part for part, _ in parts)
    freedom = total**2 / sum(part**2 / free for part, free in parts) if total else n - 1  # Satterthwaite's
    return _interval(mean, total, n, reach(freedom, alpha))


def judge(
    difference: Estimate, margin: float, alpha: float = ALPHA, reach: Reach = student, fewest: int = FEWEST
) -> tuple[Word, int | None]:
    """What a difference's interval decides, in a word that is true wherever the interval has the truth in it.

    *same*: the interval lies inside the margin (Schuirmann's two one-sided tests, 1987), *but not equal* where it
    excludes zero; *different*: it excludes zero and lies beyond the margin, *perhaps slightly* where it crosses it;
    *undetermined*: all else, and fewer than ``fewest`` pairs.

    Args:
        difference: With its interval, if it has one.
        margin: Greatest absolute difference that counts as none.
        alpha: As the interval was made with, like ``reach``.
        reach: Which interval.
        fewest: Pairs under which no word is given.

    Returns:
        The word, and about how many pairs would decide where these have not.
    """
    distance, half_width = abs(difference.mean), difference.half_width
    if half_width is not None and math.isfinite(distance + half_width) and difference.n >= fewest:
        if distance + half_width <= margin:
            return Word.SAME if distance <= half_width else Word.SAME_NOT_EQUAL, None
        if distance > half_width:
            return Word.DIFFERENT if distance - half_width >= margin else Word.DIFFERENT_SLIGHTLY, None
    return Word.UNDETERMINED, pairs_needed(difference, margin, alpha, reach)


def pairs_needed(difference: Estimate, margin: float, alpha: float = ALPHA, reach: Reach = student) -> int | None:
    """The smallest number of pairs whose interval gives a word with 80% power, were mean and spread the true ones.

    Returns:
        The number; None where no spread is known, or no number up to a million is enough.
    """
    from scipy.special import gammaincinv, ndtr

    mean, spread = difference.mean, difference.spread
    if not spread or not math.isfinite(mean + spread):
        return None
    quantiles = (np.arange(200) + 0.5) / 200

    def power(n: int) -> float:
        error = spread / math.sqrt(n)
        found = error * np.sqrt(2 * gammaincinv((n - 1) / 2, quantiles) / (n - 1))  # the errors that n pairs may show
        half_width = reach(n - 1, alpha) * found
        inside = np.clip(margin - half_width, 0, half_width)
        undecided = (
            ndtr((sign * half_width - mean) / error) - ndtr((sign * inside - mean) / error) for sign in (1, -1)
        )
        return 1 - float(np.mean(np.abs(list(undecided)).sum(axis=0)))

    n = FEWEST + bisect_left(range(FEWEST, _MOST), POWER, key=power)
    return n if n < _MOST else None


def _interval(mean: float, variance: float, n: int, reach: float) -> Estimate:
    """An estimate from the variance of its mean."""
    error = math.sqrt(variance)
    return Estimate(mean, reach * error if reach < math.inf else None, n, error * math.sqrt(n))


def _variance(values: Sequence[float], floor: float) -> float:
    # statistics.variance fails on NaN, which a run may well have; max keeps one that comes first.
    mean = fmean(values)
    return max(sum((value - mean) ** 2 for value in values) / (len(values) - 1), floor**2)
