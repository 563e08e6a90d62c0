"""What a rung of the ladder says, and how two sets of tensors are compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.judge.judge import FACTOR

Arrays = dict[str, NDArray]

CAUSES = {
    1: "a layer or a bias that one side has not, padding, another kernel size",
    2: "another order of the batches, another scaling (a division inside tf.function or Rescaling)",
    3: "Glorot against Kaiming uniform, a kernel that was not transposed, flatten's order",
    4: "another activation, epsilon, padding or stride, another order in which flatten reads the axes; of float32 "
    "alone, TF32 on a GPU",
    5: "softmax before a loss that applies it itself, a sum for a mean, label smoothing",
    6: "a layer that is frozen or detached, another loss",
    7: "epsilon inside or outside the root, weight decay coupled or decoupled, other defaults of the optimizer; "
    "of statistics: momentum for 1 - momentum",
    8: "a state that moves with the steps: batch statistics, dropout, another order of later batches",
    9: "optimizer state: momentum with the learning rate inside or outside, bias correction, rounding of its settings",
    10: "TF32 or XLA on one side, another algorithm of the convolution",
    11: "macro instead of micro accuracy, a dropped last batch, dropout left on",
}
"""What usually breaks each rung."""

CEILING = 1e-3
"""Relative difference of a loss that rounding to float32 explains."""

FINER = 2.0**-29
"""A float64's rounding over a float32's: a tensor that cancels loses as many digits in the one as in the other."""

ROUNDED = 1e-4
"""Relative difference of an activation that rounding to float32 explains in any net; TF32 has 5e-4 in each product."""


@dataclass(frozen=True)
class Rung:
    """The outcome of one rung.

    Attributes:
        number: 1 to 11.
        compared: What is compared.
        difference: The greatest difference found; of several places, that of ``where``.
        limit: What it may be there; None where only the text tells.
        holds: Whether the rung carries.
        where: The first place that is over its limit, else that of the greatest difference: layer, tensor, step.
        cause: What usually breaks this rung.
        curves: Losses or differences by step, for a picture.
    """

    number: int
    compared: str
    difference: float
    limit: float | None
    holds: bool
    where: str = ""
    cause: str = ""
    curves: dict[str, list[float]] = field(default_factory=dict)

    @property
    def ulps(self) -> float:
        """The difference in units of the last place, of float64 where that is what was compared, else of float32."""
        return self.difference / float(np.finfo("float64" if "float64" in self.compared else "float32").eps)


def relative(ours: NDArray, theirs: NDArray) -> float:
    """Greatest absolute difference over the greatest absolute value of ``theirs``; infinite for other shapes."""
    if ours.shape != theirs.shape:
        ours, theirs = ours.squeeze(), theirs.squeeze()  # a pooled image may keep its axes of one pixel
    if ours.shape != theirs.shape:
        return float("inf")
    difference, scale = np.abs(ours - theirs).max(initial=0.0), np.abs(theirs).max(initial=0.0)
    return float(difference / (scale or 1.0))


def with_the_same_ties(ours: NDArray, theirs: NDArray, values: NDArray, limit: float) -> NDArray:
    """``ours`` where a max pool chose another of several equal values, which rounding alone tells apart, as ``theirs``.

    Args:
        ours: The gradient of an activation [batch, ...], PyTorch's.
        theirs: Keras's.
        values: The activation.
        limit: Relative difference of gradients that are equal.
    """
    if not ours.shape == theirs.shape == values.shape:
        return ours
    limit, difference = limit * np.abs(theirs).max(initial=0.0), ours - theirs
    odd = np.abs(difference) > limit
    images, equal = np.nonzero(odd)[0], np.round(values[odd] / np.abs(values).max(initial=1e-300), 9)
    of = np.unique(np.stack([images, equal]), axis=1, return_inverse=True)[1]
    handed_on = np.abs(np.bincount(of, difference[odd]))[of] <= limit
    settled = ours.copy()
    settled[odd] = np.where(handed_on, theirs[odd], ours[odd])
    return settled


def worst(
    number: int,
    compared: str,
    limit: float,
    ours: Arrays,
    theirs: Arrays,
    measured: Callable[[], list[tuple[Arrays, Arrays]]] | None = None,
    ceiling: float = 0.2,
    scale: float = 1.0,
) -> Rung:
    """The first tensor over its limit, in the order of the layers; where none is, the worst.

    One that a side has not is infinitely off, and one that is no number is over any limit.

    Args:
        number: Of the rung.
        compared: What is compared.
        limit: What the relative difference of a tensor may be.
        ours: PyTorch's tensors.
        theirs: Keras's, by the same names.
        measured: Of each framework, the tensors in float32 and in float64; asked for where one is over ``limit``,
            which is then ``FACTOR`` times the greater relative difference between the two of a framework.
        ceiling: What that may be at most; from 1 on, two tensors that are all rounding are equal.
        scale: Of what is measured: ``FINER`` where tensors in float64 are compared.
    """
    missing = {name: float("inf") for name in ours | theirs} or {"nothing to compare": float("inf")}
    differences = missing | {name: relative(ours[name], theirs[name]) for name in ours if name in theirs}
    limits = dict.fromkeys(differences, limit)
    over = [name for name, difference in differences.items() if not difference <= limit]
    if measured is not None and over:
        errors = measured()
        for name in set(over) & ours.keys() & theirs.keys():
            own = [scale * relative(single[name], double[name]) for single, double in errors]
            if np.isfinite(own).all():
                limits[name] = max(limit, min(FACTOR * max(own), ceiling))
            if ceiling >= 1 <= FACTOR * min(own):
                limits[name] = float("inf")  # both are nothing but rounding
        over = [name for name in over if not differences[name] <= limits[name]]
    where = over[0] if over else max(differences, key=lambda name: differences[name])
    return Rung(number, compared, differences[where], limits[where], not over, where, CAUSES[number])


def value(
    number: int, compared: str, limit: float, ours: float, theirs: float, where: str, errors: Callable[[], float]
) -> Rung:
    """As ``worst``, of one number; ``errors`` gives the greater absolute difference from float64."""
    difference = abs(ours - theirs)
    if difference > limit:
        limit = max(limit, min(FACTOR * errors(), CEILING * max(1.0, abs(theirs))))
    return Rung(number, compared, difference, limit, difference <= limit, where, CAUSES[number])


def line(rung: Rung) -> str:
    """A rung in lines of at most 80 columns."""
    verdict = "holds " if rung.holds else "BREAKS"
    limit = "" if rung.limit is None else f", limit {rung.limit:.1g}"
    ulps = f", {rung.ulps:.2g} ulp" if 0 < rung.difference < 1 and rung.limit else ""
    where = f": {rung.where}" if rung.where else ""
    head, said = f"{rung.number:2d} {verdict} {rung.compared}", f"{rung.difference:.1e}{limit}{ulps}{where}"
    indent = " " * 10
    lines = [
        *wrap(head, 80, subsequent_indent=indent),
        *wrap(said, 80, initial_indent=indent, subsequent_indent=indent),
    ]
    return "\n".join(lines)


def table(rungs: Sequence[Rung]) -> list[list[str]]:
    """The rungs as rows, under a head."""
    rows = [["rung", "compared", "greatest difference", "limit", "ulp", "verdict", "where"]]
    for rung in rungs:
        limit = "" if rung.limit is None else f"{rung.limit:.0e}" if rung.limit else "0"
        verdict = "holds" if rung.holds else "BREAKS"
        ulps = f"{rung.ulps:.2g}" if rung.limit else ""
        rows.append([str(rung.number), rung.compared, f"{rung.difference:.2g}", limit, ulps, verdict, rung.where])
    return rows
