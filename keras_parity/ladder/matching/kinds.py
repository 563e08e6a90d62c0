"""The kinds of layers with state: their arrays on both sides, and the conversion between the two."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.matching.arrays import RECURRENT, Array, recurrent_array

Convert = Callable[[NDArray], NDArray]

ROLES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "embeddings": "weight",
    "alpha": "weight",
}
"""PyTorch's tensor name by Keras's variable name."""

KINDS: dict[str, tuple[tuple[type, ...], tuple[type, ...]]] = {
    "Conv1D": ((nn.Conv1d,), (keras.layers.Conv1D,)),
    "Conv2D": ((nn.Conv2d,), (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)),
    "Conv3D": ((nn.Conv3d,), (keras.layers.Conv3D,)),
    "Conv1DTranspose": ((nn.ConvTranspose1d,), (keras.layers.Conv1DTranspose,)),
    "Conv2DTranspose": ((nn.ConvTranspose2d,), (keras.layers.Conv2DTranspose,)),
    "Conv3DTranspose": ((nn.ConvTranspose3d,), (keras.layers.Conv3DTranspose,)),
    "Dense": ((nn.Linear,), (keras.layers.Dense, keras.layers.EinsumDense)),  # the latter inside attention
    "BatchNormalization": ((nn.modules.batchnorm._BatchNorm,), (keras.layers.BatchNormalization,)),
    "LayerNormalization": ((nn.LayerNorm,), (keras.layers.LayerNormalization,)),
    "RMSNormalization": ((nn.RMSNorm,), (keras.layers.RMSNormalization,)),
    "GroupNormalization": ((nn.GroupNorm,), (keras.layers.GroupNormalization,)),
    "Embedding": ((nn.Embedding,), (keras.layers.Embedding,)),
    "PReLU": ((nn.PReLU,), (keras.layers.PReLU,)),
    "LSTM": ((nn.LSTM,), (keras.layers.LSTM,)),
    "GRU": ((nn.GRU,), (keras.layers.GRU,)),
    "SimpleRNN": ((nn.RNN,), (keras.layers.SimpleRNN,)),
}
"""PyTorch's classes and Keras's classes by kind. Other kinds are matched by the shapes of their arrays."""

CHANNELS_FIRST = {kind for kind in KINDS if kind.startswith("Conv")} | {
    "BatchNormalization",
    "GroupNormalization",
    "PReLU",
}
"""Kinds whose tensors have channels on axis 1 in PyTorch and on the last axis in Keras."""

FEATUREWISE = ("BatchNormalization", "LayerNormalization", "RMSNormalization", "PReLU")
"""Kinds that act on each feature of a vector separately and keep their order."""

PADDINGS = (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D)
"""Layers that PyTorch writes as a setting of the layer after them."""


def kind_of(layer: Any, side: int) -> str:
    """Returns the kind of a layer; the name of its class if ``KINDS`` lacks it.

    Args:
        layer: A module or a Keras layer.
        side: 0 for PyTorch, 1 for Keras.
    """
    kinds = (kind for kind, classes in KINDS.items() if isinstance(layer, classes[side]))
    return next(kinds, type(layer).__name__)


def inner_layer(layer: Any) -> Any:
    """Unwraps a ``TimeDistributed``; returns any other layer itself."""
    return inner_layer(layer.layer) if isinstance(layer, keras.layers.TimeDistributed) else layer


def is_recurrent(layer: Any) -> bool:
    """Whether a Keras layer runs a cell step by step; its activations are the cell's."""
    return isinstance(layer, keras.layers.RNN)


def keras_parts(layer: keras.Layer, names: dict[int, str]) -> list[tuple[str, list[Array]]]:
    """Returns kind and arrays of the PyTorch modules that a Keras layer corresponds to: one, or two if it is separable.

    Args:
        layer: A built layer. Arrays of its sublayers belong to them, except those of an RNN's cell.
        names: Name by ``id`` of each variable.
    """
    layer = inner_layer(layer)
    kind = kind_of(layer, 1)
    owned = layer.weights if is_recurrent(layer) else [*layer._trainable_variables, *layer._non_trainable_variables]
    variables = {variable.name: variable for variable in owned if "float" in str(variable.dtype)}
    groups = [variables]
    if isinstance(layer, keras.layers.SeparableConv2D):
        kind, depthwise = "Conv2D", {"depthwise_kernel": variables.pop("depthwise_kernel")}
        groups = [depthwise, variables]
    return [
        (kind, [_array(layer, kind, variable, names[id(variable)]) for variable in group.values()])
        for group in groups
        if group
    ]


def _array(layer: keras.Layer, kind: str, variable: keras.Variable, name: str) -> Array:
    shape, role = tuple(variable.shape), ROLES.get(variable.name, variable.name)
    rank = len(shape)
    if kind in RECURRENT:
        return recurrent_array(RECURRENT[kind], variable.name, name, shape)
    to_torch: Convert = lambda a: a  # noqa: E731
    to_keras: Convert = lambda a: a  # noqa: E731
    if isinstance(layer, keras.layers.EinsumDense):
        fan_in = math.prod(shape[: _summed(layer)])
        to_torch = lambda a: a.reshape(fan_in, -1).T if role == "weight" else a.reshape(-1)  # noqa: E731
        to_keras = lambda a: a.T.reshape(shape)  # noqa: E731
    elif role == "depthwise_kernel" or (role == "weight" and isinstance(layer, keras.layers.DepthwiseConv2D)):
        height, width, channels, multiplier = shape
        role = "weight"
        to_torch = lambda a: a.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)  # noqa: E731
        to_keras = lambda a: a.reshape(channels, multiplier, height, width).transpose(2, 3, 0, 1)  # noqa: E731
    elif role == "pointwise_kernel" or (variable.name == "kernel" and rank > 1):
        role = "weight"  # of every convolution, and of a matrix, which has no spatial axes
        to_torch = lambda a: a.transpose(rank - 1, rank - 2, *range(rank - 2))  # noqa: E731
        to_keras = lambda a: a.transpose(*range(2, rank), 1, 0)  # noqa: E731
    elif kind == "LayerNormalization" and rank > 2:  # over the axes of an image
        to_torch, to_keras = lambda a: np.moveaxis(a, -1, 0), lambda a: np.moveaxis(a, 0, -1)
    elif kind == "RMSNormalization":
        role = "weight"
    elif kind == "PReLU":
        to_torch, to_keras = lambda a: a.reshape(-1), lambda a: a.reshape(shape)
    empty = to_torch(np.empty(shape, np.bool_))
    return Array(name, (role,), (empty.shape,), lambda a: (to_torch(a),), lambda tensors: to_keras(tensors[0]))


def _summed(layer: keras.layers.EinsumDense) -> int:
    """Returns how many axes a layer sums over: the last of its input, the first of its kernel."""
    (_, kernel), out = layer.equation.split("->")[0].split(","), layer.equation.split("->")[1]
    return sum(axis not in out for axis in kernel)


def as_vectors(layer: Any, array: NDArray, layer_input: Any) -> NDArray:
    """Merges the head and feature axes of an EinsumDense layer's input or output; returns other arrays unchanged."""
    if not isinstance(layer, keras.layers.EinsumDense):
        return array
    return array.reshape(*layer_input.shape[: layer_input.ndim - _summed(layer)], -1)


def normalizes_image(module: Any) -> bool:
    """Whether a layer norm normalizes over channels and all pixels together, or is torchvision's for images."""
    norm = isinstance(module, nn.LayerNorm)
    return norm and (len(module.normalized_shape) > 2 or type(module).__name__.endswith("2d"))


def to_keras_axes(kind: str, array: NDArray) -> NDArray:
    """Moves the channels of a PyTorch layer's input or output to the last axis, as in Keras."""
    return np.moveaxis(array, 1, -1) if kind in CHANNELS_FIRST and array.ndim > 2 else array


def hides_preactivation(layer: Any) -> bool:
    """Whether a layer's output before its activation is hidden inside a ``TimeDistributed``."""
    inner, linear = inner_layer(layer), keras.activations.linear
    return inner is not layer and getattr(inner, "activation", linear) != linear


def channels_last(layer: Any, array: Any) -> NDArray:
    """Moves the channels of a Keras layer's input or output to the last axis if the layer has them first."""
    first = getattr(inner_layer(layer), "data_format", None) == "channels_first"
    return np.moveaxis(np.asarray(array), 1, -1) if first and np.ndim(array) > 2 else np.asarray(array)


def to_layer_axes(layer: Any, array: NDArray) -> NDArray:
    """Undoes ``channels_last``."""
    first = getattr(inner_layer(layer), "data_format", None) == "channels_first"
    return np.moveaxis(array, -1, 1) if first and array.ndim > 2 else array
