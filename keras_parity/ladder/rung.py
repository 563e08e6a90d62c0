"""What a rung of the ladder says, and how two sets of tensors are compared."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray]

CAUSES = {
    1: "a layer or a bias that one side has not, padding, another kernel size",
    2: "another order of the batches, another scaling (a division inside tf.function or Rescaling)",
    3: "Glorot against Kaiming uniform, a kernel that was not transposed",
    4: "the order in which flatten reads the axes, a kernel transposed wrongly, another activation",
    5: "softmax before a loss that applies it itself, a sum for a mean, label smoothing",
    6: "a layer that is frozen or detached, another loss",
    7: "epsilon inside or outside the root, weight decay coupled or decoupled, other defaults of the optimizer",
    8: "a state that moves with the steps: batch statistics, dropout, another order of later batches",
    9: "optimizer state: momentum with the learning rate inside or outside, bias correction, rounding of its settings",
    10: "TF32 or XLA on one side, another algorithm of the convolution",
    11: "macro instead of micro accuracy, a dropped last batch, dropout left on",
}
"""What usually breaks each rung."""


@dataclass(frozen=True)
class Rung:
    """The outcome of one rung.

    Attributes:
        number: 1 to 11.
        compared: What is compared.
        difference: The greatest difference found.
        limit: What it may be; None where only the text tells.
        holds: Whether the rung carries.
        where: The place of the greatest difference: layer, tensor, step.
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


def relative(ours: NDArray, theirs: NDArray) -> float:
    """Greatest absolute difference over the greatest absolute value of ``theirs``; infinite for other shapes."""
    if ours.shape != theirs.shape:
        return float("inf")
    difference, scale = np.abs(ours - theirs).max(initial=0.0), np.abs(theirs).max(initial=0.0)
    return float(difference / (scale or 1.0))


def worst(number: int, compared: str, limit: float, ours: Arrays, theirs: Arrays) -> Rung:
    """The first tensor over the limit, in the order of the layers; where none is, the worst.

    One that a side has not is infinitely off, and one that is no number is over any limit.
    """
    missing = {name: float("inf") for name in ours | theirs} or {"nothing to compare": float("inf")}
    differences = missing | {name: relative(ours[name], theirs[name]) for name in ours if name in theirs}
    over = [name for name, difference in differences.items() if not difference <= limit]
    where = over[0] if over else max(differences, key=lambda name: differences[name])
    return Rung(number, compared, differences[where], limit, not over, where, CAUSES[number])
