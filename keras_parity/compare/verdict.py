"""Whether two frameworks' figures are the same: intervals, margins of equivalence, McNemar's test."""

import math
from collections.abc import Hashable, Mapping, Sequence
from statistics import fmean
from typing import Literal, NamedTuple


class Estimate(NamedTuple):
    """A figure, or the difference of two.

    Attributes:
        mean: Over the runs, or the figure itself.
        half_width: Half of the 95% interval of the mean; None where there are too few runs for one.
        n: Number of runs; of a difference, of pairs, or of runs on the side that has fewer.
    """

    mean: float
    half_width: float | None = None
    n: int = 1


class Verdict(NamedTuple):
    """What runs say about a difference.

    Attributes:
        difference: PyTorch minus Keras.
        margin: Greatest difference that counts as none.
        word: What the interval and the margin decide.
        needed: About how many pairs of runs would decide; None where they have decided, or no spread is known.
    """

    difference: Estimate
    margin: float
    word: Literal["same", "different", "undetermined"]
    needed: int | None = None


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and Student's t interval (Student 1908): t(n - 1) s / sqrt(n), with at least two values."""
    n, mean = len(values), fmean(values)
    if n < 2:
        return Estimate(mean)
    return Estimate(mean, _t(n - 1) * math.sqrt(_variance(values) / n), n)


def difference(keras: Mapping[Hashable, float], pytorch: Mapping[Hashable, float]) -> Estimate:
    """PyTorch minus Keras, pair by pair where at least two seeds have both.

    Else from the means: with Welch's interval (Welch 1947, with Satterthwaite's degrees of freedom) where both
    have at least two runs, without one where they have not.

    Args:
        keras: Figures by seed, at least one.
        pytorch: Likewise.
    """
    paired = [pytorch[seed] - keras[seed] for seed in keras.keys() & pytorch.keys()]
    if len(paired) >= 2:
        return estimate(paired)
    return _welch(list(keras.values()), list(pytorch.values()))


def judge(difference: Estimate, margin: float) -> Verdict:
    """Says what a difference's interval decides.

    *same*: it lies inside the margin (Schuirmann's two one-sided tests, 1987, each at 2.5%); *different*: it does
    not, and excludes zero; *undetermined*: all else.

    Args:
        difference: With its interval, if it has one.
        margin: Greatest absolute difference that counts as none.
    """
    distance, half_width = abs(difference.mean), difference.half_width
    if half_width is None or not math.isfinite(distance + half_width):
        return Verdict(difference, margin, "undetermined")
    if distance + half_width <= margin:
        return Verdict(difference, margin, "same")
    if distance > half_width:
        return Verdict(difference, margin, "different")
    # The half width falls with the root of n; the nearer decision is the cheaper one.
    enough = max(margin - distance, distance)
    needed = math.ceil(difference.n * (half_width / enough) ** 2) if enough else None
    return Verdict(difference, margin, "undetermined", needed)


def mcnemar(only_first: int, only_second: int) -> float:
    """The two-sided p of McNemar's test (1947) in its exact form, a sign test of the discordant predictions.

    Args:
        only_first: Predictions that are right in the first only.
        only_second: In the second only.
    """
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(only_first, only_second), only_first + only_second, 0.5)))


def _welch(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """Second minus first."""
    mean, n = fmean(second) - fmean(first), min(len(first), len(second))
    if n < 2:
        return Estimate(mean, None, n)
    parts = [(_variance(values) / len(values), len(values) - 1) for values in (first, second)]
    total = sum(part for part, _ in parts)
    if total == 0:
        return Estimate(mean, 0.0, n)
    freedom = total**2 / sum(part**2 / free for part, free in parts)
    return Estimate(mean, _t(freedom) * math.sqrt(total), n)


def _variance(values: Sequence[float]) -> float:
    # statistics.variance fails on NaN, which a run may well have.
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def _t(freedom: float) -> float:
    """The quantile of Student's t that 95% lie within on both sides."""
    from scipy.special import stdtrit  # of scipy.stats it would take a second to import

    return float(stdtrit(freedom, 0.975))
