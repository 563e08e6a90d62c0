"""The Keras network of an architecture."""

from collections.abc import Mapping, Sequence
from functools import singledispatch

import keras
from numpy.typing import NDArray

from cnn_mnist.architecture.layers import Conv, Dense, Flatten, Layer, MaxPool
from cnn_mnist.architecture.trace import ARCHITECTURES, IMAGE_SHAPE, modules


def build_twin(layers: Sequence[Layer]) -> keras.Sequential:
    """Builds the network, its layers named as ``architecture.modules`` names them.

    Args:
        layers: The records; they end in logits.

    Returns:
        A model from images [batch, 28, 28, 1] to logits [batch, 10], weights as Keras makes them, with the name of the
        architecture where it has one, so that a ``.keras`` file tells it.
    """
    built = (
        _keras_layer(traced.layer, name) if traced else keras.layers.ReLU(name=name) for name, traced in modules(layers)
    )
    return keras.Sequential([keras.Input(IMAGE_SHAPE), *built], name=name_of(layers))


def name_of(layers: Sequence[Layer]) -> str | None:
    """The name of the architecture of these layer records; None where it has none."""
    return next((name for name, known in ARCHITECTURES.items() if known == tuple(layers)), None)


def load_weights(model: keras.Model, weights: Mapping[str, NDArray]) -> None:
    """Copies neutral weights (see ``cnn_mnist.architecture.initial_weights``) into the model, in place."""
    for name, array in weights.items():
        layer, variable = name.split("/")
        getattr(model.get_layer(layer), variable).assign(array)


def read_weights(model: keras.Model) -> dict[str, NDArray]:
    """The model's weights in the neutral layout, which is Keras's own."""
    variables = [(layer.name, variable) for layer in model.layers for variable in layer.trainable_variables]
    return {f"{layer}/{variable.name}": variable.numpy() for layer, variable in variables}


@singledispatch
def _keras_layer(layer: Layer, name: str) -> keras.Layer:
    raise NotImplementedError(f"no Keras layer for {layer!r}")


@_keras_layer.register
def _(layer: Conv, name: str) -> keras.Layer:
    return keras.layers.Conv2D(layer.filters, layer.kernel_size, name=name)


@_keras_layer.register
def _(layer: MaxPool, name: str) -> keras.Layer:
    return keras.layers.MaxPooling2D(layer.size, name=name)


@_keras_layer.register
def _(layer: Flatten, name: str) -> keras.Layer:
    return keras.layers.Flatten(name=name)


@_keras_layer.register
def _(layer: Dense, name: str) -> keras.Layer:
    return keras.layers.Dense(layer.units, name=name)
