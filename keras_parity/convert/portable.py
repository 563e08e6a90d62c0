"""A trained network between two frameworks: its weights and its optimizer's state in the neutral layout."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from numpy.typing import NDArray

from cnn_mnist.architecture.layers import Layer, Shape
from cnn_mnist.architecture.trace import ARCHITECTURES, trace
from cnn_mnist.errors import UserError
from cnn_mnist.settings import ModelSettings


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
    """

    layers: Sequence[Layer]
    weights: dict[str, NDArray]
    settings: ModelSettings = field(default_factory=ModelSettings)
    slots: dict[str, dict[str, NDArray]] | None = None
    iterations: int = 0


def weight_shapes(layers: Sequence[Layer]) -> dict[str, Shape]:
    """Shape of every weight by neutral name."""
    return {f"{traced.name}/{name}": shape for traced in trace(layers) for name, shape in traced.weight_shapes.items()}


def named_architecture(shapes: Mapping[str, Shape], source: str) -> str:
    """The named architecture that has weights of these names and neutral shapes.

    Raises:
        UserError: There is none.
    """
    for name, layers in ARCHITECTURES.items():
        if weight_shapes(layers) == dict(shapes):
            return name
    raise UserError(f"expected the weights of one of {', '.join(ARCHITECTURES)}, got {source}, which has others")
