"""Arrays of Keras layers and the PyTorch tensors that they correspond to, including those of RNNs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from numpy.typing import NDArray
from torch import nn

Tensors = tuple[NDArray, ...]

RECURRENT = {"LSTM": [0, 1, 2, 3], "GRU": [1, 0, 2], "SimpleRNN": [0]}
"""PyTorch's gates as indices of Keras's: input, forget, cell, output; reset, update, new."""


@dataclass(frozen=True)
class Array:
    """One array of a Keras layer and its PyTorch tensor, or two tensors for an RNN's two biases.

    Attributes:
        name: ``"layer/kernel"``.
        roles: PyTorch's tensor names, without the module's.
        shapes: Shapes of the tensors.
        to_torch: Converts the array to the tensors.
        to_keras: Converts the tensors to the array.
    """

    name: str
    roles: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    to_torch: Callable[[NDArray], Tensors]
    to_keras: Callable[[Tensors], NDArray]


def torch_arrays(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Returns the shape by role of a module's own parameters and floating-point buffers."""
    tensors = {**module._parameters, **module._buffers}
    return {
        role: tuple(tensor.shape)
        for role, tensor in tensors.items()
        if tensor is not None and tensor.is_floating_point()
    }


def recurrent_parts(module: nn.Module) -> Iterator[tuple[dict[str, str], dict[str, tuple[int, ...]]]]:
    """Splits an RNN into its layers and directions, which are separate layers in Keras.

    Yields:
        The module's own tensor names by role, and shape by role, with the roles of the first layer and direction.
    """
    if isinstance(module, nn.RNNBase):
        shapes = torch_arrays(module)
        for depth in range(module.num_layers):
            for direction in ("", "_reverse")[: 1 + module.bidirectional]:
                suffix = f"_l{depth}{direction}"
                own = {f"{r.removesuffix(suffix)}_l0": r for r in shapes if r.partition("_l")[1] and r.endswith(suffix)
                       and r.removesuffix(suffix) in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}  # fmt: skip
                yield own, {role: shapes[name] for role, name in own.items()}


def reorder_gates(array: NDArray, order: Sequence[int]) -> NDArray:
    """Reorders the equal blocks of axis 0."""
    blocks = np.split(array, len(order))
    return np.concatenate([blocks[gate] for gate in order])


def recurrent_array(gates: list[int], variable: str, name: str, shape: tuple[int, ...]) -> Array:
    """Describes a kernel, transposed and with its gates reordered, or a bias, of which PyTorch has two."""
    inverse = [gates.index(gate) for gate in range(len(gates))]
    if "kernel" in variable:
        role = "weight_hh_l0" if variable.startswith("recurrent") else "weight_ih_l0"
        to_torch = lambda a: (reorder_gates(a.T, gates),)  # noqa: E731
        return Array(name, (role,), (shape[::-1],), to_torch, lambda tensors: reorder_gates(tensors[0], inverse).T)
    roles = "bias_ih_l0", "bias_hh_l0"
    if len(shape) == 2:  # a GRU with reset_after has both
        both = lambda a: (reorder_gates(a[0], gates), reorder_gates(a[1], gates))  # noqa: E731
        to_keras = lambda tensors: np.stack([reorder_gates(tensor, inverse) for tensor in tensors])  # noqa: E731
        return Array(name, roles, (shape[1:], shape[1:]), both, to_keras)
    first = lambda a: (reorder_gates(a, gates), np.zeros_like(a))  # noqa: E731
    return Array(name, roles, (shape, shape), first, lambda tensors: reorder_gates(tensors[0] + tensors[1], inverse))


def variable_name(model: keras.Model, variable: keras.Variable) -> str:
    """Returns ``"layer/kernel"``: a variable's path, without the model's name."""
    return variable.path.removeprefix(f"{model.name}/")


def keras_state(model: keras.Model) -> dict[str, NDArray]:
    """Returns a copy of a model's weights by ``variable_name``."""
    return {name: keras.ops.convert_to_numpy(v.value).copy() for name, v in named_variables(model).items()}


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns a model's weights by ``variable_name``."""
    return {variable_name(model, variable): variable for variable in model.weights}
