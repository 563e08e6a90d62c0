"""Compares the runs of both sides: their difference, the noise of each, and the limit that follows from it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.judge.nests import distance
from keras_parity.ladder.judge.verdict import CEILING, StepComparison

FACTOR = 8
"""Limit of the frameworks' difference, in units of the change that one ulp causes within one framework."""

PERTURBED = range(2)
"""Seeds of the runs of each side from one ulp away."""

FAR = 1 + len(PERTURBED)
"""Index of the first run from ``FACTOR`` ulps away."""

FLOORS = {"float32": (2e-6, 2e-6), "float64": (2e-7, 2e-6)}
"""Smallest relative limits, before and after training: Keras rounds constants, PyTorch adds some."""

GAP, LEAST, FEWEST = 10, 1e-6, 16
"""Powers of two without a value that set small values apart from large ones; their smallest size and number."""

Outputs = list[NDArray]


class Measure(NamedTuple):
    """A relative distance between two lists of outputs, and the largest that counts as equal."""

    distance: Callable[[Outputs, Outputs], float]
    limit: float


def compare_runs(step: int, precision: str, both: Sequence[Sequence[Outputs]]) -> tuple[StepComparison, list[Measure]]:
    """Compares the first run of each side.

    Args:
        step: Training steps taken.
        precision: ``"float32"`` or ``"float64"``.
        both: The runs of each side: as it is, then from one ulp away, which give the noise, then from ``FACTOR`` ulps
            away, which show jumps.

    Returns:
        The comparison that decides, and all measures, the one of whole outputs first.
    """
    first, measures, found = [runs[0] for runs in both], list[Measure](), list[StepComparison]()
    for measure in (distance, *_distances_below(*first)):
        noise, jump = (
            max((measure(runs[0], other) for runs in both for other in runs[some]), default=0.0)
            for some in (slice(1, FAR), slice(FAR, None))
        )
        floor = FLOORS[precision][step > 0]
        limit = max(floor, FACTOR * noise, 2 * jump)  # each side may have jumped
        difference = measure(*first)
        measures.append(Measure(measure, limit))
        same = difference <= limit if noise <= CEILING or difference <= floor else None
        found.append(StepComparison(step, difference, limit, precision, same))
    whole, *parts = found
    if len({any(np.isnan(array).any() for array in outputs) for outputs in first}) == 2:  # NaN on one side
        return replace(whole, same=False), measures
    decided = [part for part in parts if part.same is not None]
    return max([whole, *decided], key=lambda c: c.difference / c.limit) if whole.same else whole, measures


def largest(measures: Sequence[Measure], first: Outputs, second: Outputs) -> tuple[float, float]:
    """Returns the difference that is largest relative to its limit, and that limit."""
    each = [(measure(first, second), limit) for measure, limit in measures]
    return max(each, key=lambda found: found[0] / found[1])


def _distances_below(first: Outputs, second: Outputs) -> Iterator[Callable[[Outputs, Outputs], float]]:
    """Yields distances of the values that are far smaller than the largest, which would hide a difference.

    For example, logits next to masked ones of -1e9, or an output in metres next to one in millions.
    """
    for place, (a, b) in enumerate(zip(first, second, strict=False)):
        if a.shape != b.shape or {a.dtype.kind, b.dtype.kind} != {"f"}:
            continue
        sizes = np.maximum(np.abs(a), np.abs(b))
        kept = np.isfinite(sizes) & (sizes > LEAST)
        powers = np.where(kept, np.frexp(sizes)[1], 0)
        used = np.flatnonzero(np.bincount(powers[kept] - powers.min(initial=0))) + powers.min(initial=0)
        for group in np.split(used, np.flatnonzero(np.diff(used) > GAP) + 1)[:-1]:
            mask = kept & np.isin(powers, group)
            if np.count_nonzero(mask) >= FEWEST:
                yield partial(_masked_distance, place, mask, float(sizes[mask].max()))


def _masked_distance(place: int, mask: NDArray[np.bool_], scale: float, first: Outputs, second: Outputs) -> float:
    a, b = (outputs[place] if place < len(outputs) else np.empty(0) for outputs in (first, second))
    if not a.shape == b.shape == mask.shape:
        return 0.0  # ``distance`` judges them
    return float(np.nan_to_num(np.abs(a[mask].astype("float64") - b[mask]), nan=np.inf).max() / scale)
