"""Converts weights between the neutral (Keras) layout and PyTorch's, in numpy.

Gradients and optimizer slots, which have the shapes of weights, are converted the same way.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.layer_spec import STATISTICS, Shape
from cnn_mnist.architecture.layers import SeparableConv2D
from cnn_mnist.architecture.network import Network
from cnn_mnist.errors import UserError

Arrays = Mapping[str, NDArray[np.floating]]

PYTORCH_NAMES = {
    **dict.fromkeys(("kernel", "depthwise_kernel", "pointwise_kernel", "gamma"), "weight"),
    **dict.fromkeys(("bias", "beta"), "bias"),
    **dict(zip(STATISTICS, ("running_mean", "running_var"), strict=True)),
}
"""PyTorch's name of each array, by Keras's."""


def to_pytorch(weights: Arrays, network: Network) -> dict[str, NDArray[np.floating]]:
    """Converts neutral weights to a PyTorch state dict.

    Args:
        weights: Some or all arrays of the network, by name such as ``"conv1/kernel"``; kernels (height, width, in, out)
            or (in, out).
        network: The network.

    Returns:
        The arrays by PyTorch's name such as ``"conv1.weight"``; kernels (out, in, height, width) or (out, in). Between
        a flatten and the next dense layer's inputs, features are in the order channels, height, width.
    """
    found = [place for place in _places(network) if place.neutral in weights]
    return {place.pytorch: np.ascontiguousarray(place.to_pytorch(weights[place.neutral])) for place in found}


def from_pytorch(state: Arrays, network: Network) -> dict[str, NDArray[np.floating]]:
    """Converts a PyTorch state dict to neutral weights; the inverse of ``to_pytorch``.

    Raises:
        UserError: An array has no floating-point numbers.
    """
    found = [place for place in _places(network) if place.pytorch in state]
    for name in (place.pytorch for place in found):
        if state[name].dtype.kind != "f":
            raise UserError(f"expected floating-point weights, got {name} as {state[name].dtype}; save them as float32")
    return {place.neutral: np.ascontiguousarray(place.from_pytorch(state[place.pytorch])) for place in found}


@dataclass(frozen=True)
class _Place:
    """An array: its names, Keras's shape, whether it is depthwise, and the image shape if its input is flattened."""

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
        order = self.to_pytorch(np.arange(array.size).reshape(self.shape))
        found = np.empty(array.size, array.dtype)
        found[order.ravel()] = array.ravel()
        return found.reshape(self.shape)


def _places(network: Network) -> Iterator[_Place]:
    for layer in network.placed:
        for name, shape in layer.weight_shapes.items():
            module, depthwise = layer.name, name == layer.layer.depthwise
            if isinstance(layer.layer, SeparableConv2D):
                module += ".depthwise" if depthwise else ".pointwise"
            # A dense layer's bias belongs to its outputs, whose order is the same in both frameworks.
            flattened = layer.flattened if shape[0] == layer.input_shape[0] and name != "bias" else None
            yield _Place(f"{layer.name}/{name}", f"{module}.{PYTORCH_NAMES[name]}", shape, depthwise, flattened)
