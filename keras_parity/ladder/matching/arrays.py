"""One array of a Keras layer and the tensors that PyTorch has in its place; those of recurrent layers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import nn

Tensors = tuple[NDArray, ...]

RECURRENT = {"LSTM": [0, 1, 2, 3], "GRU": [1, 0, 2], "SimpleRNN": [0]}
"""PyTorch's gates, as places among Keras's: input, forget, cell, output; reset, update, new."""


@dataclass(frozen=True)
class Array:
    """One array of a Keras layer, and what PyTorch has in its place: one tensor, or two where it has two biases.

    Attributes:
        name: ``"layer/kernel"``.
        roles: PyTorch's names of the tensors, without the module's.
        shapes: Of the tensors.
        to_torch: From the array to the tensors.
        to_keras: Back.
    """

    name: str
    roles: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    to_torch: Callable[[NDArray], Tensors]
    to_keras: Callable[[Tensors], NDArray]


def torch_arrays(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Shape by role of the parameters and the floating statistics that a module owns itself."""
    tensors = {**module._parameters, **module._buffers}
    return {
        role: tuple(tensor.shape)
        for role, tensor in tensors.items()
        if tensor is not None and tensor.is_floating_point()
    }


def recurrent_parts(module: nn.Module) -> Iterator[tuple[dict[str, str], dict[str, tuple[int, ...]]]]:
    """Of a recurrent module each layer and direction, which are layers of their own in Keras.

    Yields:
        The module's own names by those of its first layer and direction, and shape by the latter.
    """
    if isinstance(module, nn.RNNBase):
        shapes = torch_arrays(module)
        for depth in range(module.num_layers):
            for direction in ("", "_reverse")[: 1 + module.bidirectional]:
                suffix = f"_l{depth}{direction}"
                own = {f"{r.removesuffix(suffix)}_l0": r for r in shapes if r.partition("_l")[1] and r.endswith(suffix)
                       and r.removesuffix(suffix) in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}  # fmt: skip
                yield own, {role: shapes[name] for role, name in own.items()}


def recurrent_array(gates: list[int], own: str, name: str, shape: tuple[int, ...]) -> Array:
    """A kernel, transposed and with its gates in order, or the bias, of which PyTorch has two."""
    back_again = [gates.index(gate) for gate in range(len(gates))]

    def ordered(array: NDArray, order: list[int]) -> NDArray:
        blocks = np.split(array, len(gates))
        return np.concatenate([blocks[gate] for gate in order])

    if "kernel" in own:
        role = "weight_hh_l0" if own.startswith("recurrent") else "weight_ih_l0"
        there = lambda a: (ordered(a.T, gates),)  # noqa: E731
        return Array(name, (role,), (shape[::-1],), there, lambda tensors: ordered(tensors[0], back_again).T)
    roles = "bias_ih_l0", "bias_hh_l0"
    if len(shape) == 2:  # a GRU with reset_after has both
        both = lambda a: (ordered(a[0], gates), ordered(a[1], gates))  # noqa: E731
        back = lambda tensors: np.stack([ordered(tensor, back_again) for tensor in tensors])  # noqa: E731
        return Array(name, roles, (shape[1:], shape[1:]), both, back)
    first = lambda a: (ordered(a, gates), np.zeros_like(a))  # noqa: E731
    return Array(name, roles, (shape, shape), first, lambda tensors: ordered(tensors[0] + tensors[1], back_again))
