"""The layer records that a sequential network is described with: they know shapes and counts, no framework.

Shapes are in Keras's order, (height, width, channels), without the batch.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from cnn_mnist.errors import UserError

Shape = tuple[int, ...]


def times(shape: Shape) -> str:
    """A shape as it is written in a table, ``26x26x32``."""
    return "x".join(map(str, shape))


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
        height, width, _ = _spatial(shape, self, self.kernel_size, "kernel")
        return (height - self.kernel_size + 1, width - self.kernel_size + 1, self.filters)

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Kernel (height, width, channels in, filters) and bias (filters,)."""
        kernel = (self.kernel_size, self.kernel_size, shape[2], self.filters)
        return {"kernel": kernel, "bias": (self.filters,)}


@dataclass(frozen=True)
class MaxPool(Layer):
    """Maximum over windows of ``size`` x ``size``, stride ``size``; an incomplete last window is dropped."""

    size: int
    kind: ClassVar[str] = "pool"

    def __str__(self) -> str:
        return f"max pool {self.size}"

    def output_shape(self, shape: Shape) -> Shape:
        """(height, width, channels) to (height // size, width // size, channels)."""
        height, width, channels = _spatial(shape, self, self.size, "window")
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
            raise UserError(f"{self}: expected a flat input, got {times(shape)}; put a Flatten before it")
        return (self.units,)

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Kernel (features, units) and bias (units,)."""
        return {"kernel": (shape[0], self.units), "bias": (self.units,)}


def _spatial(shape: Shape, layer: Layer, least: int, what: str) -> Shape:
    if len(shape) != 3:
        raise UserError(f"{layer}: expected height x width x channels, got {times(shape)}")
    if least > min(shape[:2]):
        raise UserError(f"{layer}: expected an input of at least the {what}'s size, got {times(shape)}")
    return shape


def _suffix(activation: str | None) -> str:
    return ", ReLU" if activation == "relu" else ""
