"""A trained network between two frameworks: its weights and its optimizer's state in the neutral layout."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.layers import Layer
from cnn_mnist.architecture.trace import ARCHITECTURES
from cnn_mnist.errors import UserError
from cnn_mnist.settings import ModelSettings

Arrays = dict[str, NDArray]
Logits = Callable[[NDArray[np.float32]], NDArray]
"""What a loaded file computes: logits [n, 10] of images [n, 28, 28] in [0, 1]."""


@dataclass(frozen=True)
class Portable:
    """A network in no framework.

    Attributes:
        layers: The layer records.
        weights: By neutral name, ``"conv1/kernel"``, in Keras's layout, float32 or float64.
        settings: What it was trained with, as far as the file tells.
        slots: The optimizer's arrays by Keras's name of the slot, each a dict like ``weights``; None where the file
            has no optimizer.
        iterations: Optimizer updates done.
        untold: What ``settings`` cannot say of the optimizer, in a line; empty where there is nothing.
    """

    layers: Sequence[Layer]
    weights: Arrays
    settings: ModelSettings = field(default_factory=ModelSettings)
    slots: dict[str, Arrays] | None = None
    iterations: int = 0
    untold: str = ""

    @property
    def dtype(self) -> str:
        """The dtype of the weights."""
        return str(next(iter(self.weights.values())).dtype)


def choose_layers(path: Path, told: str | None, asked: Sequence[Layer] | None) -> Sequence[Layer]:
    """The layer records of a file.

    Args:
        path: The file, for the message.
        told: The architecture that the file itself names.
        asked: The records that the user gives.

    Raises:
        UserError: Neither says, or they contradict each other.
    """
    records = ARCHITECTURES.get(told or "")
    known = ", ".join(ARCHITECTURES)
    if records is None and asked is None:
        raise UserError(f"--model.architecture: expected one of {known} with {path}, which names no architecture")
    if records is not None and asked is not None and tuple(asked) != records:
        raise UserError(f"--model.architecture: {path} holds {told}, got another; leave the flag out")
    return records or asked or ()
