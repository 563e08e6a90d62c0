"""The two named architectures and ``trace()``: the one definition that both frameworks build from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from cnn_mnist.architecture.layers import Conv, Dense, Flatten, Layer, MaxPool, Shape, times
from cnn_mnist.errors import UserError

Order = Literal["keras", "pytorch"]

IMAGE_SHAPE: Shape = (28, 28, 1)
CLASSES = 10

# Both end in logits: softmax belongs to the loss and to predict, never to the network.
ARCHITECTURES: dict[str, tuple[Layer, ...]] = {
    "three_conv": (
        Conv(32, 3),
        MaxPool(2),
        Conv(64, 3),
        MaxPool(2),
        Conv(64, 3),
        Flatten(),
        Dense(64, "relu"),
        Dense(CLASSES),
    ),
    "conv5x5": (Conv(32, 5), MaxPool(2), Conv(64, 5), MaxPool(2), Flatten(), Dense(CLASSES)),
}


def layers_of(architecture: str) -> tuple[Layer, ...]:
    """The layer records of a named architecture.

    Raises:
        UserError: No architecture bears that name; the known ones are listed.
    """
    if architecture not in ARCHITECTURES:
        raise UserError(f"unknown architecture {architecture!r}: expected one of {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[architecture]


@dataclass(frozen=True)
class TracedLayer:
    """One layer in its place.

    Attributes:
        name: Its kind and its number among its kind, ``conv1``; both frameworks name the layer so.
        layer: The record.
        input_shape: (height, width, channels) or (features,).
        output_shape: Likewise.
        parameters: Number of trained numbers.
        arithmetic: How that number comes about, as a Python expression: the weights of one output and its bias, for
            each output; empty without parameters.
        total: Running total of parameters, this layer included.
    """

    name: str
    layer: Layer
    input_shape: Shape
    output_shape: Shape
    parameters: int
    arithmetic: str
    total: int

    @property
    def weight_shapes(self) -> dict[str, Shape]:
        """Name and shape (Keras's layout) of each trained array, ``{"kernel": ..., "bias": ...}``."""
        return self.layer.weight_shapes(self.input_shape)


def trace(layers: Sequence[Layer], input_shape: Shape = IMAGE_SHAPE) -> list[TracedLayer]:
    """Follows one image through the layers.

    Args:
        layers: The records, first to last.
        input_shape: (height, width, channels) of one image.

    Returns:
        One ``TracedLayer`` for each record, in order.

    Raises:
        UserError: A layer does not fit what comes into it.
    """
    traced: list[TracedLayer] = []
    shape, total, seen = input_shape, 0, Counter[str]()
    for layer in layers:
        seen[layer.kind] += 1
        output_shape, weights = layer.output_shape(shape), layer.weight_shapes(shape)
        parameters = sum(map(prod, weights.values()))
        total += parameters
        name, arithmetic = f"{layer.kind}{seen[layer.kind]}", ""
        if weights:
            *inputs, outputs = weights["kernel"]
            arithmetic = f"({'*'.join(map(str, inputs))}+1)*{outputs}"
        traced.append(TracedLayer(name, layer, shape, output_shape, parameters, arithmetic, total))
        shape = output_shape
    return traced


def modules(layers: Sequence[Layer]) -> list[tuple[str, TracedLayer | None]]:
    """The modules that both frameworks build, in their order.

    A ReLU is a module of its own, behind the max pool that follows its layer: values and gradients are the same,
    since pools take the first maximum of a window and nothing passes through a window without a positive
    element, and it touches a quarter of the elements.

    Args:
        layers: The records, first to last.

    Returns:
        Name and layer of each module; a ReLU is named after its layer, ``conv1_relu``, and stands as None.
    """
    placed: list[tuple[str, TracedLayer | None]] = []
    for traced in trace(layers):
        behind_relu = bool(placed) and placed[-1][1] is None
        place = len(placed) - (behind_relu and isinstance(traced.layer, MaxPool))
        placed.insert(place, (traced.name, traced))
        if getattr(traced.layer, "activation", None) == "relu":
            placed.append((f"{traced.name}_relu", None))
    return placed


def layer_table(layers: Sequence[Layer], order: Order = "keras") -> list[tuple[str, str, str, str]]:
    """The table of the layers, its header first: layer, output shape, parameters with their arithmetic, total.

    Args:
        layers: The records.
        order: Whose order of axes the shapes are written in, H x W x C or C x H x W.
    """
    rows = [("layer", f"output ({'H x W x C' if order == 'keras' else 'C x H x W'})", "parameters", "total")]
    for traced in trace(layers):
        shape = traced.output_shape
        if order == "pytorch" and len(shape) == 3:
            shape = (shape[2], *shape[:2])
        count = f"{traced.parameters:,}" + (f" = {traced.arithmetic}" if traced.arithmetic else "")
        rows.append((str(traced.layer), times(shape), count, f"{traced.total:,}"))
    return rows
