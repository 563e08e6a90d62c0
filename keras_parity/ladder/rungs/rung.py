"""The result of a rung, and the comparison of two sets of tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from textwrap import wrap

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.judge.judge import FACTOR
from keras_parity.ladder.judge.nests import Arrays, array_distance

CAUSES = {
    1: "a layer or bias on one side only, another padding or kernel size",
    2: "another order of the batches, another scaling of the images (a division inside tf.function or Rescaling)",
    3: "Glorot instead of Kaiming uniform, a kernel that is not transposed, another order of flatten",
    4: "another activation, epsilon, padding, stride or order of flatten; in float32 only: TF32 on a GPU",
    5: "softmax before a loss that applies it again, sum instead of mean, label smoothing",
    6: "a frozen or detached layer, another loss",
    7: "epsilon inside or outside the square root, coupled or decoupled weight decay, other optimizer defaults; in "
    "statistics: momentum instead of 1 - momentum",
    8: "state that changes with the steps: batch statistics, dropout, another order of later batches",
    9: "optimizer state: learning rate inside or outside the momentum, bias correction, rounding of the settings",
    10: "TF32 or XLA on one side, another convolution algorithm",
    11: "macro instead of micro accuracy, a dropped last batch, dropout left on",
}
"""The common causes of a break, by rung."""

CEILING = 1e-3
"""Relative difference of a loss that float32 rounding explains."""

FINER = 2.0**-29
"""Rounding of float64 relative to float32; a tensor that cancels loses as many digits in either."""

ROUNDED = 1e-4
"""Relative difference of an activation that float32 rounding explains in any network; TF32 has 5e-4 per product."""


@dataclass(frozen=True)
class Rung:
    """The result of one rung.

    Attributes:
        number: 1 to 11.
        compared: What is compared, in words.
        difference: The largest difference; if several places are compared, the difference at ``where``.
        limit: The largest allowed difference there; None if ``where`` explains the result instead.
        holds: Whether the difference is within the limit.
        where: The first place over its limit, else the place of the largest difference: a layer, tensor or step.
        cause: The common causes of a break.
        curves: Losses or differences by step, for a figure.
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
        """The difference in units of the last place, of float64 if that was compared, else of float32."""
        return self.difference / float(np.finfo("float64" if "float64" in self.compared else "float32").eps)


def align_ties(torch_gradient: NDArray, keras_gradient: NDArray, values: NDArray, limit: float) -> NDArray:
    """Replaces gradients where a max pool picked another of several equal values; rounding alone decides between these.

    Args:
        torch_gradient: PyTorch's gradient of an activation [batch, ...].
        keras_gradient: Keras's.
        values: The activation.
        limit: Relative difference of equal gradients.

    Returns:
        ``torch_gradient``, with ``keras_gradient`` at these places.
    """
    if not torch_gradient.shape == keras_gradient.shape == values.shape:
        return torch_gradient
    limit, difference = limit * np.abs(keras_gradient).max(initial=0.0), torch_gradient - keras_gradient
    differs = np.abs(difference) > limit
    images, equal = np.nonzero(differs)[0], np.round(values[differs] / np.abs(values).max(initial=1e-300), 9)
    group = np.unique(np.stack([images, equal]), axis=1, return_inverse=True)[1]
    same_sum = np.abs(np.bincount(group, difference[differs]))[group] <= limit
    aligned = torch_gradient.copy()
    aligned[differs] = np.where(same_sum, keras_gradient[differs], torch_gradient[differs])
    return aligned


def compare_tensors(
    number: int,
    compared: str,
    limit: float,
    from_torch: Arrays,
    from_keras: Arrays,
    other_precision: tuple[Arrays, Arrays] | None = None,
    ceiling: float = 0.2,
    scale: float = 1.0,
) -> Rung:
    """Compares tensors by name: reports the first one over its limit in the order of the layers, else the worst.

    A missing tensor differs infinitely; NaN is over every limit.

    Args:
        number: Number of the rung.
        compared: What is compared, in words.
        limit: Largest relative difference of a tensor.
        from_torch: PyTorch's tensors.
        from_keras: Keras's, by the same names.
        other_precision: PyTorch's and Keras's tensors in the other precision. The limit of a tensor over ``limit`` then
            is ``FACTOR`` times the larger relative difference of the two precisions.
        ceiling: Largest such limit; from 1 on, two tensors of pure rounding count as equal.
        scale: Factor on the measured errors: ``FINER`` to compare float64 tensors.

    Returns:
        The rung.
    """
    both = from_torch.keys() & from_keras.keys()
    differences = dict.fromkeys(from_torch | from_keras, float("inf")) or {"nothing to compare": float("inf")}
    differences |= {name: array_distance(from_torch[name], from_keras[name]) for name in both}
    limits = dict.fromkeys(differences, limit)
    over = [name for name, difference in differences.items() if not difference <= limit]
    if other_precision is not None:
        measured = list(zip((from_torch, from_keras), other_precision, strict=True))
        for name in both & set(over):
            errors = [scale * array_distance(own[name], other[name]) for own, other in measured]
            if np.isfinite(errors).all():
                limits[name] = max(limit, min(FACTOR * max(errors), ceiling))
            if ceiling >= 1 <= FACTOR * min(errors):
                limits[name] = float("inf")  # both are pure rounding
        over = [name for name in over if not differences[name] <= limits[name]]
    where = over[0] if over else max(differences, key=lambda name: differences[name])
    return Rung(number, compared, differences[where], limits[where], not over, where, CAUSES[number])


def compare_values(
    number: int,
    compared: str,
    limit: float,
    from_torch: float,
    from_keras: float,
    where: str,
    error: Callable[[], float],
) -> Rung:
    """Compares two numbers like ``compare_tensors``; ``error`` returns the larger absolute error against float64."""
    difference = abs(from_torch - from_keras)
    if difference > limit:
        limit = max(limit, min(FACTOR * error(), CEILING * max(1.0, abs(from_keras))))
    return Rung(number, compared, difference, limit, difference <= limit, where, CAUSES[number])


def line(rung: Rung) -> str:
    """Formats a rung in lines of at most 80 columns."""
    verdict = "holds " if rung.holds else "BREAKS"
    limit = "" if rung.limit is None else f", limit {rung.limit:.1g}"
    ulps = f", {rung.ulps:.2g} ulp" if 0 < rung.difference < 1 and rung.limit else ""
    where = f": {rung.where}" if rung.where else ""
    head, result = f"{rung.number:2d} {verdict} {rung.compared}", f"{rung.difference:.1e}{limit}{ulps}{where}"
    indent = " " * 10
    rest = wrap(result, 80, initial_indent=indent, subsequent_indent=indent)
    return "\n".join([*wrap(head, 80, subsequent_indent=indent), *rest])


def table(rungs: Sequence[Rung]) -> list[list[str]]:
    """Formats rungs as rows below a header."""
    rows = [["rung", "compared", "largest difference", "limit", "ulp", "verdict", "where"]]
    for rung in rungs:
        limit = "" if rung.limit is None else f"{rung.limit:.0e}" if rung.limit else "0"
        verdict = "holds" if rung.holds else "BREAKS"
        ulps = f"{rung.ulps:.2g}" if rung.limit else ""
        rows.append([str(rung.number), rung.compared, f"{rung.difference:.2g}", limit, ulps, verdict, rung.where])
    return rows
