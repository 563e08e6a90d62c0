"""The PyTorch network of an architecture."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import singledispatch

import torch
from numpy.typing import NDArray
from torch import nn

from cnn_mnist.architecture.layers import Conv, Dense, Flatten, Layer, MaxPool, Shape
from cnn_mnist.architecture.layouts import to_pytorch
from cnn_mnist.architecture.trace import modules


def build_network(layers: Sequence[Layer]) -> nn.Sequential:
    """Builds the network, its modules named as ``architecture.modules`` names them.

    Args:
        layers: The records; they end in logits.

    Returns:
        A module from images [batch, 1, 28, 28] to logits [batch, 10], weights as PyTorch makes them,
        in channels_last, which nearly halves the convolutions on a CPU.
    """
    built = (
        (name, _module(traced.layer, traced.input_shape) if traced else nn.ReLU()) for name, traced in modules(layers)
    )
    return nn.Sequential(OrderedDict(built)).to(memory_format=torch.channels_last)


def load_weights(network: nn.Module, weights: Mapping[str, NDArray], layers: Sequence[Layer]) -> None:
    """Copies neutral weights (see ``initial_weights``) into the network, in place."""
    state = {name: torch.from_numpy(array) for name, array in to_pytorch(weights, layers).items()}
    network.load_state_dict(state)


@singledispatch
def _module(layer: Layer, shape: Shape) -> nn.Module:
    raise NotImplementedError(f"no PyTorch module for {layer!r}")


@_module.register
def _(layer: Conv, shape: Shape) -> nn.Module:
    return nn.Conv2d(shape[2], layer.filters, layer.kernel_size)


@_module.register
def _(layer: MaxPool, shape: Shape) -> nn.Module:
    return nn.MaxPool2d(layer.size)


@_module.register
def _(layer: Flatten, shape: Shape) -> nn.Module:
    return nn.Flatten()


@_module.register
def _(layer: Dense, shape: Shape) -> nn.Module:
    return nn.Linear(shape[0], layer.units)
