"""The Keras network of an architecture."""

from collections.abc import Mapping, Sequence

import keras
from numpy.typing import NDArray

from cnn_mnist.architecture.layers import Conv, Dense, Flatten, Layer, MaxPool
from cnn_mnist.architecture.trace import ARCHITECTURES, IMAGE_SHAPE, modules

_KINDS: dict[type, tuple[type[keras.Layer], tuple[str, ...]]] = {
    Conv: (keras.layers.Conv2D, ("filters", "kernel_size")),
    MaxPool: (keras.layers.MaxPooling2D, ("size",)),
    Flatten: (keras.layers.Flatten, ()),
    Dense: (keras.layers.Dense, ("units",)),
    type(None): (keras.layers.ReLU, ()),
}
"""Keras's layer of each record, and which of its fields it takes, in order; a ReLU stands as None."""


def build_twin(layers: Sequence[Layer]) -> keras.Sequential:
    """Builds the network, its layers named as ``architecture.modules`` names them.

    Args:
        layers: The records; they end in logits.

    Returns:
        A model from images [batch, 28, 28, 1] to logits [batch, 10], weights as Keras makes them, with the name of the
        architecture where it has one, so that a ``.keras`` file tells it.
    """
    model = keras.Sequential([keras.Input(IMAGE_SHAPE)], name=name_of(layers))
    for name, traced in modules(layers):
        layer = traced and traced.layer
        kind, taken = _KINDS[type(layer)]
        model.add(kind(*(getattr(layer, field) for field in taken), name=name))
    return model


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
