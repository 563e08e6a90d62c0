"""Estimates of a mean and of a difference, with their intervals: Student's t, or valid at every look."""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

ALPHA = 0.05
"""Error rate of the interval of a column, and of the primary row's difference."""

Reach = Callable[[float, float], float]
"""Half width of an interval, in standard errors, from degrees of freedom and error rate."""


class Estimate(NamedTuple):
    """A figure, or the difference of two figures.

    Attributes:
        mean: The mean over the runs, or the figure itself.
        half_width: Half width of the interval of the mean; None with too few runs.
        n: Number of runs; for a difference, number of pairs, or number of runs on the smaller side.
        spread: The standard error times the square root of n; None if ``half_width`` is None.
    """

    mean: float
    half_width: float | None = None
    n: int = 1
    spread: float | None = None


def student(freedom: float, alpha: float) -> float:
    """Student's t (1908), for a number of runs that is fixed in advance.

    Args:
        freedom: Degrees of freedom.
        alpha: Error rate.

    Returns:
        Half width of the interval, in standard errors.
    """
    from scipy.special import stdtrit  # importing scipy.stats would take a second

    return float(stdtrit(freedom, 1 - alpha / 2))


def always_valid(freedom: float, alpha: float) -> float:
    """For a study that compares after every pair: the probability that any of its intervals misses is ``alpha``.

    A confidence sequence for the mean of Gaussian differences of unknown variance, from Lai's scale-invariant mixture
    (1976) over effect sizes of variance 1, which is the Bayes factor of the t test with the right Haar measure on the
    deviation (Wang and Ramdas, *Anytime-valid t-tests and confidence sequences for Gaussian means with unknown
    variance*, 2024). For unpaired runs it is an approximation.

    Args:
        freedom: Degrees of freedom.
        alpha: Error rate of all intervals together.

    Returns:
        Half width of the interval, in standard errors; infinite for the first four pairs.
    """
    n = freedom + 1
    ratio = (math.sqrt(n + 1) / alpha) ** (2 / n)
    room = 1 - ratio / (n + 1)
    return math.sqrt(freedom * (ratio - 1) / room) if room > 0 else math.inf


def estimate(values: Sequence[float], floor: float = 0.0, alpha: float = ALPHA, reach: Reach = student) -> Estimate:
    """Estimates a mean; with at least two values, with its interval.

    Args:
        values: At least one.
        floor: Lower bound of the standard deviation: equal figures may have been rounded.
        alpha: Error rate of the interval.
        reach: Kind of interval.
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
    """Estimates second minus first: pair by pair if both have the same seeds, else over all runs (Welch 1947).

    Args:
        first: Baseline figures by seed, at least one.
        second: Compared figures by seed, at least one.
        floor: Lower bound of the standard deviation of one figure.
        alpha: Error rate of the interval.
        reach: Kind of interval.

    Returns:
        The difference; without an interval if a side has a single run.
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


def _interval(mean: float, variance: float, n: int, reach: float) -> Estimate:
    """An estimate from a mean and its variance."""
    error = math.sqrt(variance)
    return Estimate(mean, reach * error if reach < math.inf else None, n, error * math.sqrt(n))


def _variance(values: Sequence[float], floor: float) -> float:
    # statistics.variance fails on NaN, which a run may contain; max returns NaN if it is the first argument.
    mean = fmean(values)
    return max(sum((value - mean) ** 2 for value in values) / (len(values) - 1), floor**2)
