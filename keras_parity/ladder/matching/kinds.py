"""The kinds of layers that own state: their arrays on both sides, and how the one becomes the other."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.matching.arrays import RECURRENT, Array, recurrent_array

Turn = Callable[[NDArray], NDArray]

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
"""Keras's name of an array of a layer, and PyTorch's."""

KINDS: dict[str, tuple[tuple[type, ...], tuple[type, ...]]] = {
    "Conv1D": ((nn.Conv1d,), (keras.layers.Conv1D,)),
    "Conv2D": ((nn.Conv2d,), (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)),
    "Conv3D": ((nn.Conv3d,), (keras.layers.Conv3D,)),
    "Conv1DTranspose": ((nn.ConvTranspose1d,), (keras.layers.Conv1DTranspose,)),
    "Conv2DTranspose": ((nn.ConvTranspose2d,), (keras.layers.Conv2DTranspose,)),
    "Conv3DTranspose": ((nn.ConvTranspose3d,), (keras.layers.Conv3DTranspose,)),
    "Dense": ((nn.Linear,), (keras.layers.Dense, keras.layers.EinsumDense)),  # the latter in an attention
    "BatchNormalization": ((nn.modules.batchnorm._BatchNorm,), (keras.layers.BatchNormalization,)),
    "LayerNormalization": ((nn.LayerNorm,), (keras.layers.LayerNormalization,)),
    "GroupNormalization": ((nn.GroupNorm,), (keras.layers.GroupNormalization,)),
    "Embedding": ((nn.Embedding,), (keras.layers.Embedding,)),
    "PReLU": ((nn.PReLU,), (keras.layers.PReLU,)),
    "LSTM": ((nn.LSTM,), (keras.layers.LSTM,)),
    "GRU": ((nn.GRU,), (keras.layers.GRU,)),
    "SimpleRNN": ((nn.RNN,), (keras.layers.SimpleRNN,)),
}
"""Kind: PyTorch's classes, Keras's classes. A kind that is not here is matched by the shapes of its arrays."""

CHANNELS_FIRST = {kind for kind in KINDS if kind.startswith("Conv")} | {
    "BatchNormalization",
    "GroupNormalization",
    "PReLU",
}
"""Kinds whose tensors have their channels on axis 1 in PyTorch and on the last one in Keras."""

FEATUREWISE = ("BatchNormalization", "LayerNormalization", "PReLU")
"""Kinds that give the features of a vector back in the order in which they got them."""

PADDINGS = (keras.layers.ZeroPadding1D, keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D)
"""Layers that do what is a setting of the layer after them in PyTorch."""


def kind_of(layer: Any, side: int) -> str:
    """The kind of a layer; the name of its class where it is none of ``KINDS``.

    Args:
        layer: A module or a layer.
        side: 0 for PyTorch, 1 for Keras.
    """
    fitting = [kind for kind, classes in KINDS.items() if isinstance(layer, classes[side])]
    return fitting[0] if fitting else type(layer).__name__


def inner_layer(layer: Any) -> Any:
    """What a layer applies to each step, where it is a ``TimeDistributed``; else itself."""
    return inner_layer(layer.layer) if isinstance(layer, keras.layers.TimeDistributed) else layer


def keras_parts(layer: keras.Layer, names: dict[int, str]) -> list[tuple[str, list[Array]]]:
    """Kind and arrays of what a layer is in PyTorch: one module, or two for a separable convolution.

    Args:
        layer: A built layer; arrays of layers inside it are left to these, except those of a recurrent layer's cell.
        names: Name by ``id`` of a variable.
    """
    layer = inner_layer(layer)
    kind = kind_of(layer, 1)
    owned = layer.weights if kind in RECURRENT else [*layer._trainable_variables, *layer._non_trainable_variables]
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
    there: Turn = lambda a: a  # noqa: E731
    back: Turn = lambda a: a  # noqa: E731
    if isinstance(layer, keras.layers.EinsumDense):
        into = math.prod(shape[: _summed(layer)]) if role == "weight" else 1
        there = lambda a: a.reshape(into, -1).T if role == "weight" else a.reshape(-1)  # noqa: E731
        back = lambda a: a.T.reshape(shape)  # noqa: E731
    elif role == "depthwise_kernel" or (role == "weight" and isinstance(layer, keras.layers.DepthwiseConv2D)):
        height, width, channels, multiplier = shape
        role = "weight"
        there = lambda a: a.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)  # noqa: E731
        back = lambda a: a.reshape(channels, multiplier, height, width).transpose(2, 3, 0, 1)  # noqa: E731
    elif role == "pointwise_kernel" or (variable.name == "kernel" and rank > 1):
        role = "weight"  # of every convolution, and of a matrix, which has no axes of space
        there = lambda a: a.transpose(rank - 1, rank - 2, *range(rank - 2))  # noqa: E731
        back = lambda a: a.transpose(*range(2, rank), 1, 0)  # noqa: E731
    elif kind == "PReLU":
        there, back = lambda a: a.reshape(-1), lambda a: a.reshape(shape)
    empty = there(np.empty(shape, np.bool_))
    return Array(name, (role,), (empty.shape,), lambda a: (there(a),), lambda tensors: back(tensors[0]))


def _summed(layer: keras.layers.EinsumDense) -> int:
    """Over how many axes of its input, the last ones and the first of its kernel, a layer sums."""
    (_, kernel), out = layer.equation.split("->")[0].split(","), layer.equation.split("->")[1]
    return sum(axis not in out for axis in kernel)


def as_vectors(layer: Any, array: NDArray, given: Any) -> NDArray:
    """What went into or came out of a dense layer of several axes, as of one: heads and their features together."""
    if not isinstance(layer, keras.layers.EinsumDense):
        return array
    return array.reshape(*given.shape[: given.ndim - _summed(layer)], -1)


def in_keras_layout(kind: str, array: NDArray) -> NDArray:
    """A tensor that went into or came out of a PyTorch layer, with its axes as Keras has them."""
    return np.moveaxis(array, 1, -1) if kind in CHANNELS_FIRST and array.ndim > 2 else array


def hides_its_sum(layer: Any) -> bool:
    """Whether what a layer gives before its activation is not seen, as that runs inside a ``TimeDistributed``."""
    inner, linear = inner_layer(layer), keras.activations.linear
    return inner is not layer and getattr(inner, "activation", linear) != linear


def channels_last(layer: Any, array: Any) -> NDArray:
    """What a Keras layer takes or gives, with its channels last, also where the layer has them first."""
    first = getattr(inner_layer(layer), "data_format", None) == "channels_first"
    return np.moveaxis(np.asarray(array), 1, -1) if first and np.ndim(array) > 2 else np.asarray(array)


def as_layer_has(layer: Any, array: NDArray) -> NDArray:
    """The other way round."""
    first = getattr(inner_layer(layer), "data_format", None) == "channels_first"
    return np.moveaxis(array, -1, 1) if first and array.ndim > 2 else array
