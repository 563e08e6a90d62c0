"""``Network``, the definition from which both frameworks build."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, Literal

from cnn_mnist.architecture.layer_spec import STATISTICS, LayerSpec, Shape, times
from cnn_mnist.architecture.layers import ELU, Activation, Dense, Flatten, LeakyReLU, MaxPooling2D, ZeroPadding2D
from cnn_mnist.architecture.windows import Windows
from cnn_mnist.errors import UserError, told_of

Order = Literal["keras", "pytorch"]

IMAGE_SHAPE: Shape = (28, 28, 1)
CLASSES = 10

_AS_RECORDS: dict[Any, LayerSpec] = {"leaky_relu": LeakyReLU(0.2), "elu": ELU()}
"""Activations with a class of their own, and Keras's defaults."""


@dataclass(frozen=True)
class PlacedLayer:
    """A layer in its place in a network.

    Attributes:
        name: Kind and number, for example ``conv1``; its name in both frameworks.
        layer: The layer's settings.
        input_shape: (height, width, channels) or (features,).
        output_shape: (height, width, channels) or (features,).
        parameters: Number of trained parameters.
        arithmetic: That number as a Python expression; empty without parameters.
        total: Parameters up to and including this layer.
        flattened: (height, width, channels) if the input is a flattened image, whose order the frameworks differ in.
    """

    name: str
    layer: LayerSpec
    input_shape: Shape
    output_shape: Shape
    parameters: int
    arithmetic: str
    total: int
    flattened: Shape | None = None

    @property
    def weight_shapes(self) -> dict[str, Shape]:
        """Keras's name and shape of each array, including statistics."""
        return self.layer.weight_shapes(self.input_shape)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one image's forward pass; a training step takes three times as many."""
        places = prod(self.output_shape[:-1])
        return places * sum(prod(shape) for shape in self.weight_shapes.values() if len(shape) > 1)


class Network:
    """A sequential network that ends in logits.

    Args:
        layers: The layers in order; a final softmax is removed, because the loss and predict apply it.
        input_shape: (height, width, channels) of one image.
        left_out: Options of the description's source that affect only training, such as regularizers, by place.

    Attributes:
        layers: The layers without a final softmax.
        input_shape: (height, width, channels) of one image.

    Raises:
        UserError: A layer does not fit its input, or the network does not end in logits.
    """

    def __init__(
        self,
        layers: Sequence[LayerSpec],
        input_shape: Sequence[int] = IMAGE_SHAPE,
        left_out: Mapping[str, Any] | None = None,
    ) -> None:
        self.layers, self.input_shape = _without_softmax(tuple(layers)), tuple(input_shape)
        self.left_out = dict(left_out or {})
        if not self.placed:
            raise UserError("expected a network of one layer or more, got none")

    def __eq__(self, other: object) -> bool:
        """Returns whether both compute the same function of the same weights, however they are written."""
        return isinstance(other, Network) and self._function == other._function

    def __repr__(self) -> str:
        return f"Network({'; '.join(map(str, self.layers))}: {self.parameters:,} parameters)"

    def __hash__(self) -> int:
        return hash(self._function)

    @cached_property
    def _function(self) -> tuple[Any, ...]:
        """Its modules without names; padding and activations are separate."""
        parts: list[Any] = [self.input_shape]
        for place in self.modules:
            layer, apart = place.layer, dict[str, Any]()
            if isinstance(layer, Windows) and not isinstance(layer.padding, str):
                parts.append(ZeroPadding2D(layer.padding))
                apart["padding"] = "valid"
            if hasattr(layer, "activation") and not isinstance(layer, Activation):
                apart["activation"] = None
            parts.append(replace(layer, **apart))
        return tuple(parts)

    @property
    def classes(self) -> int:
        """Number of logits."""
        return self.placed[-1].output_shape[0]

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return self.placed[-1].total

    @cached_property
    def placed(self) -> list[PlacedLayer]:
        """The layers with their names, shapes and parameters."""
        placed: list[PlacedLayer] = []
        shape, total, flattened, seen = self.input_shape, 0, None, Counter[str]()
        for number, layer in enumerate(self.layers, start=1):
            seen[layer.stem] += 1
            with told_of(f"layer {number}, "):
                output_shape = layer.output_shape(shape)
            weights = layer.weight_shapes(shape)
            parameters = sum(prod(weights[name]) for name in weights if name not in STATISTICS)
            total += parameters
            name, arithmetic = f"{layer.stem}{seen[layer.stem]}", layer.arithmetic(shape)
            placed.append(PlacedLayer(name, layer, shape, output_shape, parameters, arithmetic, total, flattened))
            if isinstance(layer, Dense):
                flattened = None
            elif isinstance(layer, Flatten) and len(shape) == 3 and shape[0] * shape[1] > 1:
                flattened = shape
            shape = output_shape
        if placed and (len(shape) != 1 or flattened):
            end = f"{times(flattened)} in a row" if flattened else times(shape)
            where = f"layer {len(placed)}, {layer}"
            raise UserError(f"{where}: expected the network to end in logits, got {end}; add a Dense")
        return placed

    @cached_property
    def modules(self) -> list[PlacedLayer]:
        """The modules that both frameworks build, in order; an activation is a module, ``conv1_relu``.

        A ReLU moves after the max pool that follows it, where it has a quarter of the elements. Values and gradients
        stay the same: a pool selects the first maximum of a window, and without a positive element both give 0.
        """
        ordered: list[PlacedLayer] = []
        for placed in self.placed:
            after_relu = bool(ordered) and ordered[-1].layer == Activation("relu")
            ordered.insert(len(ordered) - (after_relu and isinstance(placed.layer, MaxPooling2D)), placed)
            activation = getattr(placed.layer, "activation", None)
            if isinstance(placed.layer, Activation):
                ordered[-1] = replace(placed, layer=_AS_RECORDS.get(activation, placed.layer))
            elif activation:
                record, shape = _AS_RECORDS.get(activation, Activation(activation)), placed.output_shape
                ordered.append(PlacedLayer(f"{placed.name}_{activation}", record, shape, shape, 0, "", placed.total))
        return ordered


def layer_table(network: Network, order: Order = "keras") -> list[tuple[str, str, str, str, str]]:
    """Builds the table of layers.

    Args:
        network: The network.
        order: Order of axes in shapes: H x W x C ("keras") or C x H x W ("pytorch").

    Returns:
        Header and rows: layer, output shape, parameters with their arithmetic, running total, multiply-adds.
    """
    rows = [("layer", f"output ({'HxWxC' if order == 'keras' else 'CxHxW'})", "parameters", "total", "mult-adds")]
    for placed in network.placed:
        shape = placed.output_shape
        if order == "pytorch" and len(shape) == 3:
            shape = (shape[2], *shape[:2])
        count = f"{placed.parameters:,}" + (f" = {placed.arithmetic}" if placed.arithmetic else "")
        work = f"{placed.multiply_adds:,}" if placed.multiply_adds else ""
        rows.append((str(placed.layer), times(shape), count, f"{placed.total:,}", work))
    return rows


def _without_softmax(layers: tuple[LayerSpec, ...]) -> tuple[LayerSpec, ...]:
    if layers and getattr(layers[-1], "activation", None) == "softmax":
        last: Any = layers[-1]
        layers = layers[:-1] + (() if isinstance(last, Activation) else (replace(last, activation=None),))
    for number, layer in enumerate(layers, start=1):
        if getattr(layer, "activation", None) == "softmax":
            raise UserError(f"layer {number}, {layer}: expected activation softmax only at the end; remove it")
    return layers
