"""From the neutral (Keras) layout of weights to PyTorch's and back, in numpy.

Anything with the shape of a weight travels the same way: gradients, and the slots of an optimizer.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.layers import Dense, Flatten, Layer, Shape
from cnn_mnist.architecture.trace import trace

Arrays = Mapping[str, NDArray[np.floating]]


def to_pytorch(weights: Arrays, layers: Sequence[Layer]) -> dict[str, NDArray[np.floating]]:
    """Neutral weights as a PyTorch state dict.

    Args:
        weights: ``"conv1/kernel"`` and so on; kernels (height, width, in, out) or (in, out).
        layers: The architecture they belong to.

    Returns:
        ``"conv1.weight"`` and so on; kernels (out, in, height, width) or (out, in), the inputs of the first
        dense layer after a flatten in the order channels, height, width.
    """
    state = {}
    for neutral, pytorch, flattened in _names(layers):
        array = weights[neutral]
        if flattened:
            array = array.reshape(*flattened, -1).transpose(3, 2, 0, 1).reshape(array.shape[-1], -1)
        elif array.ndim > 1:
            array = np.moveaxis(array, (-1, -2), (0, 1))
        state[pytorch] = np.ascontiguousarray(array)
    return state


def from_pytorch(state: Arrays, layers: Sequence[Layer]) -> dict[str, NDArray[np.floating]]:
    """A PyTorch state dict as neutral weights: the inverse of ``to_pytorch``."""
    weights = {}
    for neutral, pytorch, flattened in _names(layers):
        array = state[pytorch]
        if flattened:
            height, width, channels = flattened
            array = array.reshape(-1, channels, height, width).transpose(2, 3, 1, 0).reshape(-1, len(array))
        elif array.ndim > 1:
            array = np.moveaxis(array, (0, 1), (-1, -2))
        weights[neutral] = np.ascontiguousarray(array)
    return weights


def _names(layers: Sequence[Layer]) -> Iterator[tuple[str, str, Shape | None]]:
    """Each array's neutral name, its PyTorch name, and the shape that was flattened before its kernel."""
    flattened: Shape | None = None
    for traced in trace(layers):
        if isinstance(traced.layer, Flatten):
            flattened = traced.input_shape if len(traced.input_shape) == 3 else None
        for name in traced.weight_shapes:
            pytorch = f"{traced.name}.{'weight' if name == 'kernel' else name}"
            yield f"{traced.name}/{name}", pytorch, flattened if name == "kernel" else None
        if isinstance(traced.layer, Dense):
            flattened = None
