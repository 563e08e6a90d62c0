"""The layer records, the two named architectures and ``trace()``: the one definition both frameworks build from.

Ground floor: numpy and the standard library; everyone may import it.

Shapes are in Keras's order, (height, width, channels), without the batch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from cnn_mnist.errors import UserError

Shape = tuple[int, ...]
Order = Literal["keras", "pytorch"]

IMAGE_SHAPE: Shape = (28, 28, 1)
CLASSES = 10


@dataclass(frozen=True)
class Layer:
    """One record of a sequential network: it knows shapes and counts, no framework.

    A subclass says what it does to a shape; without weights it overrides ``output_shape`` alone.
    """

    kind: ClassVar[str]

    def output_shape(self, shape: Shape) -> Shape:
        """The shape that comes out when ``shape`` goes in; raises ``UserError`` where it does not fit."""
        raise NotImplementedError

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Name and shape (Keras's layout) of each trained array, for an input of ``shape``."""
        return {}

    def arithmetic(self, shape: Shape) -> str:
        """How the number of parameters comes about, as a Python expression; empty without parameters."""
        return ""


@dataclass(frozen=True)
class Conv(Layer):
    """Convolution with bias, square kernel, stride 1, no padding."""

    filters: int
    kernel_size: int
    activation: Literal["relu"] | None = "relu"
    kind: ClassVar[str] = "conv"

    def __str__(self) -> str:
        return f"conv {self.filters}@{self.kernel_size}x{self.kernel_size}{_suffix(self.activation)}"

    def output_shape(self, shape: Shape) -> Shape:
        """(height, width, channels) to (height - kernel + 1, width - kernel + 1, filters)."""
        height, width, _ = _spatial(shape, self)
        if self.kernel_size > min(height, width):
            raise UserError(f"{self}: expected an input of at least the kernel's size, got {_times(shape)}")
        return (height - self.kernel_size + 1, width - self.kernel_size + 1, self.filters)

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Kernel (height, width, channels in, filters) and bias (filters,)."""
        kernel = (self.kernel_size, self.kernel_size, shape[2], self.filters)
        return {"kernel": kernel, "bias": (self.filters,)}

    def arithmetic(self, shape: Shape) -> str:
        """One kernel over all input channels and one bias, for each filter."""
        return f"({self.kernel_size}*{self.kernel_size}*{shape[2]}+1)*{self.filters}"


@dataclass(frozen=True)
class MaxPool(Layer):
    """Maximum over windows of ``size`` x ``size``, stride ``size``; an incomplete last window is dropped."""

    size: int
    kind: ClassVar[str] = "pool"

    def __str__(self) -> str:
        return f"max pool {self.size}"

    def output_shape(self, shape: Shape) -> Shape:
        """(height, width, channels) to (height // size, width // size, channels)."""
        height, width, channels = _spatial(shape, self)
        if self.size > min(height, width):
            raise UserError(f"{self}: expected an input of at least the window's size, got {_times(shape)}")
        return (height // self.size, width // self.size, channels)


@dataclass(frozen=True)
class Flatten(Layer):
    """All elements in one row: height, width, channels in Keras; channels, height, width in PyTorch."""

    kind: ClassVar[str] = "flatten"

    def __str__(self) -> str:
        return "flatten"

    def output_shape(self, shape: Shape) -> Shape:
        """Any shape to (number of elements,)."""
        return (math.prod(shape),)


@dataclass(frozen=True)
class Dense(Layer):
    """Fully connected layer with bias."""

    units: int
    activation: Literal["relu"] | None = None
    kind: ClassVar[str] = "dense"

    def __str__(self) -> str:
        return f"dense {self.units}{_suffix(self.activation)}"

    def output_shape(self, shape: Shape) -> Shape:
        """(features,) to (units,)."""
        if len(shape) != 1:
            raise UserError(f"{self}: expected a flat input, got {_times(shape)}; put a Flatten before it")
        return (self.units,)

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Kernel (features, units) and bias (units,)."""
        return {"kernel": (shape[0], self.units), "bias": (self.units,)}

    def arithmetic(self, shape: Shape) -> str:
        """One weight for each feature and one bias, for each unit."""
        return f"({shape[0]}+1)*{self.units}"


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
        known = ", ".join(ARCHITECTURES)
        raise UserError(f"unknown architecture {architecture!r}: expected one of {known}")
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
        arithmetic: How that number comes about; empty without parameters.
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
    shape, total, seen = input_shape, 0, dict[str, int]()
    for layer in layers:
        seen[layer.kind] = seen.get(layer.kind, 0) + 1
        output_shape = layer.output_shape(shape)
        parameters = sum(math.prod(weight) for weight in layer.weight_shapes(shape).values())
        total += parameters
        name = f"{layer.kind}{seen[layer.kind]}"
        arithmetic = layer.arithmetic(shape)
        traced.append(TracedLayer(name, layer, shape, output_shape, parameters, arithmetic, total))
        shape = output_shape
    return traced


def layer_table(layers: Sequence[Layer], order: Order = "keras") -> list[tuple[str, str, str, str]]:
    """The table of the layers, its header first: layer, output shape, parameters with their arithmetic, total.

    Args:
        layers: The records.
        order: Whose order of axes the shapes are written in, H x W x C or C x H x W.
    """
    header = ("layer", f"output ({'H x W x C' if order == 'keras' else 'C x H x W'})", "parameters", "total")
    rows = [header]
    for traced in trace(layers):
        shape = traced.output_shape
        if order == "pytorch" and len(shape) == 3:
            shape = (shape[2], *shape[:2])
        count = f"{traced.parameters:,}" + (f" = {traced.arithmetic}" if traced.arithmetic else "")
        rows.append((str(traced.layer), _times(shape), count, f"{traced.total:,}"))
    return rows


def _spatial(shape: Shape, layer: Layer) -> Shape:
    if len(shape) != 3:
        raise UserError(f"{layer}: expected height x width x channels, got {_times(shape)}")
    return shape


def _times(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _suffix(activation: str | None) -> str:
    return ", ReLU" if activation == "relu" else ""
