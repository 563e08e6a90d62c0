"""From the neutral (Keras) layout of weights to PyTorch's and back, in numpy.

Anything with the shape of a weight travels the same way: gradients, and the slots of an optimizer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.layer_spec import STATISTICS, Shape
from cnn_mnist.architecture.layers import SeparableConv2D
from cnn_mnist.architecture.network import Network

Arrays = Mapping[str, NDArray[np.floating]]

PYTORCH_NAMES = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "pointwise_kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    **dict(zip(STATISTICS, ("running_mean", "running_var"), strict=True)),
}
"""PyTorch's name of each array by Keras's."""


def to_pytorch(weights: Arrays, network: Network) -> dict[str, NDArray[np.floating]]:
    """Neutral weights as a PyTorch state dict.

    Args:
        weights: ``"conv1/kernel"`` and so on; kernels (height, width, in, out) or (in, out). Of those that the network
            has, only some may be given.
        network: The network they belong to.

    Returns:
        ``"conv1.weight"`` and so on; kernels (out, in, height, width) or (out, in), what follows a flatten in the
        order channels, height, width, up to the next dense layer and its inputs.
    """
    found = [place for place in _places(network) if place.neutral in weights]
    return {place.pytorch: np.ascontiguousarray(place.to_pytorch(weights[place.neutral])) for place in found}


def from_pytorch(state: Arrays, network: Network) -> dict[str, NDArray[np.floating]]:
    """A PyTorch state dict as neutral weights: the inverse of ``to_pytorch``."""
    found = [place for place in _places(network) if place.pytorch in state]
    return {place.neutral: np.ascontiguousarray(place.from_pytorch(state[place.pytorch])) for place in found}


@dataclass(frozen=True)
class _Place:
    """One array: its names, its shape in Keras, whether each channel has its own kernel, what was flattened before."""

    neutral: str
    pytorch: str
    shape: Shape
    depthwise: bool
    flattened: Shape | None

    def to_pytorch(self, array: NDArray) -> NDArray:
        if self.depthwise:
            return array.transpose(2, 3, 0, 1).reshape(-1, 1, *self.shape[:2])
        if self.flattened:
            rows = array.reshape(*self.flattened, *self.shape[1:])
            array = np.moveaxis(rows, 2, 0).reshape(array.shape)
        return np.moveaxis(array, (-1, -2), (0, 1)) if array.ndim > 1 else array

    def from_pytorch(self, array: NDArray) -> NDArray:
        if self.depthwise:
            height, width, channels, multiplier = self.shape
            return array.reshape(channels, multiplier, height, width).transpose(2, 3, 0, 1)
        array = np.moveaxis(array, (0, 1), (-1, -2)) if array.ndim > 1 else array
        if self.flattened:
            height, width, channels = self.flattened
            rows = array.reshape(channels, height, width, *self.shape[1:])
            array = np.moveaxis(rows, 0, 2).reshape(self.shape)
        return array


def _places(network: Network) -> Iterator[_Place]:
    for traced in network.placed:
        for name, shape in traced.weight_shapes.items():
            module, depthwise = traced.name, name == traced.layer.depthwise
            if isinstance(traced.layer, SeparableConv2D):
                module += ".depthwise" if depthwise else ".pointwise"
            # The bias of a dense layer counts its outputs, which are in one order everywhere.
            flattened = traced.flattened if shape[0] == traced.input_shape[0] and name != "bias" else None
            yield _Place(f"{traced.name}/{name}", f"{module}.{PYTORCH_NAMES[name]}", shape, depthwise, flattened)
