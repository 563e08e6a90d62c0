"""The PyTorch network of an architecture."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from cnn_mnist.architecture.layers import Conv, Dense, Flatten, Layer, MaxPool, Shape
from cnn_mnist.architecture.layouts import to_pytorch
from cnn_mnist.architecture.trace import modules

_MODULES: dict[type[Layer], Callable[[Any, Shape], nn.Module]] = {
    Conv: lambda layer, shape: nn.Conv2d(shape[2], layer.filters, layer.kernel_size),
    MaxPool: lambda layer, shape: nn.MaxPool2d(layer.size),
    Flatten: lambda layer, shape: nn.Flatten(),
    Dense: lambda layer, shape: nn.Linear(shape[0], layer.units),
}
"""PyTorch's module of each record, for an input of a shape."""


def build_network(layers: Sequence[Layer]) -> nn.Sequential:
    """Builds the network, its modules named as ``architecture.modules`` names them.

    Args:
        layers: The records; they end in logits.

    Returns:
        A module from images [batch, 1, 28, 28] to logits [batch, 10], weights as PyTorch makes them,
        in channels_last, which nearly halves the convolutions on a CPU.
    """
    built = (
        (name, _MODULES[type(traced.layer)](traced.layer, traced.input_shape) if traced else nn.ReLU())
        for name, traced in modules(layers)
    )
    return nn.Sequential(OrderedDict(built)).to(memory_format=torch.channels_last)


def load_weights(network: nn.Module, weights: Mapping[str, NDArray], layers: Sequence[Layer]) -> None:
    """Copies neutral weights (see ``initial_weights``) into the network, in place."""
    state = {name: torch.from_numpy(array) for name, array in to_pytorch(weights, layers).items()}
    network.load_state_dict(state)
