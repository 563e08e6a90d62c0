"""``Network``: layer records in their places, the one definition that both frameworks build from."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, Literal

from cnn_mnist.architecture.layer_spec import STATISTICS, LayerSpec, Shape, times
from cnn_mnist.architecture.layers import ELU, Activation, Dense, Flatten, LeakyReLU, MaxPooling2D, ZeroPadding2D
from cnn_mnist.architecture.windows import Windows
from cnn_mnist.errors import UserError

Order = Literal["keras", "pytorch"]

IMAGE_SHAPE: Shape = (28, 28, 1)
CLASSES = 10

_AS_RECORDS: dict[Any, LayerSpec] = {"leaky_relu": LeakyReLU(0.2), "elu": ELU()}
"""Activations that are a record of their own, with Keras's value where none is given."""


@dataclass(frozen=True)
class PlacedLayer:
    """One layer in its place.

    Attributes:
        name: Its kind and its number among its kind, ``conv1``; both frameworks name the layer so.
        layer: The record.
        input_shape: (height, width, channels) or (features,).
        output_shape: Likewise.
        parameters: Number of trained numbers.
        arithmetic: How that number comes about, as a Python expression; empty without parameters.
        total: Running total of parameters, this layer included.
        flattened: The (height, width, channels) whose flattening its input is; the frameworks order it differently.
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
        """Name and shape (Keras's) of each array, statistics too."""
        return self.layer.weight_shapes(self.input_shape)

    @property
    def multiply_adds(self) -> int:
        """Those of one image's forward pass; a training step takes three times as many."""
        places = prod(self.output_shape[:-1])
        return places * sum(prod(shape) for shape in self.weight_shapes.values() if len(shape) > 1)


class Network:
    """A sequential network that ends in logits.

    Args:
        layers: The records, first to last; a softmax at the end is left out, since it belongs to the loss and to
            predict.
        input_shape: (height, width, channels) of one image.

    Attributes:
        layers: The records.
        input_shape: As it was given.

    Raises:
        UserError: A layer does not fit what comes into it, with its number; or the end is no row of logits.
    """

    def __init__(self, layers: Sequence[LayerSpec], input_shape: Sequence[int] = IMAGE_SHAPE) -> None:
        self.layers, self.input_shape = _without_softmax(tuple(layers)), tuple(input_shape)
        if not self.placed:
            raise UserError("expected a network of one layer or more, got none")

    def __eq__(self, other: object) -> bool:
        """Whether both are the same function of the same weights, however it is written down."""
        return isinstance(other, Network) and self._function == other._function

    def __hash__(self) -> int:
        return hash(self._function)

    @cached_property
    def _function(self) -> tuple[Any, ...]:
        """Its modules without names, each doing one thing."""
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
        """Number of trained numbers."""
        return self.placed[-1].total

    @cached_property
    def placed(self) -> list[PlacedLayer]:
        """The layers as one image meets them."""
        placed: list[PlacedLayer] = []
        shape, total, flattened, seen = self.input_shape, 0, None, Counter[str]()
        for number, layer in enumerate(self.layers, start=1):
            seen[layer.stem] += 1
            try:
                output_shape = layer.output_shape(shape)
            except UserError as error:
                raise UserError(f"layer {number}, {error}") from None
            weights = layer.weight_shapes(shape)
            parameters = sum(prod(weights[name]) for name in weights if name not in STATISTICS)
            total += parameters
            name, arithmetic = f"{layer.stem}{seen[layer.stem]}", layer.arithmetic(shape)
            place = PlacedLayer(name, layer, shape, output_shape, parameters, arithmetic, total, flattened)
            placed.append(place)
            if isinstance(layer, Flatten):
                flattened = shape if len(shape) == 3 and shape[0] * shape[1] > 1 else flattened
            elif isinstance(layer, Dense):
                flattened = None
            shape = output_shape
        if placed and (len(shape) != 1 or flattened):
            end = f"{times(flattened)} in a row" if flattened else times(shape)
            raise UserError(
                f"layer {len(placed)}, {layer}: expected the network to end in logits, got {end}; add a Dense"
            )
        return placed

    @cached_property
    def modules(self) -> list[PlacedLayer]:
        """The modules that both frameworks build, in their order; an activation is one of its own, ``conv1_relu``.

        A ReLU stands behind the max pool that follows it: values and gradients are the same, since pools take the
        first maximum of a window and nothing passes through a window without a positive element, and it touches a
        quarter of the elements.
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
    """The table of the layers, its header first: layer, output, parameters and their arithmetic, total, multiply-adds.

    Args:
        network: The network.
        order: Whose order of axes the shapes are written in, H x W x C or C x H x W.
    """
    header = ("layer", f"output ({'HxWxC' if order == 'keras' else 'CxHxW'})", "parameters", "total")
    rows = [(*header, "mult-adds")]
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
            raise UserError(f"layer {number}, {layer}: expected a softmax at the end alone; leave it out")
    return layers
