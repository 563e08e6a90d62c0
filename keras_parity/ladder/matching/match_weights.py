"""The match of two models: which layer corresponds to which, and which array to which tensor."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import keras
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.capture.attention import split_attention
from keras_parity.ladder.capture.calls import OUTPUT, Call
from keras_parity.ladder.judge.nests import Arrays
from keras_parity.ladder.matching.arrays import Array, Tensors, keras_state, named_variables
from keras_parity.ladder.matching.kinds import FEATUREWISE, KINDS, ROLES
from keras_parity.ladder.matching.match_layers import Matched, signature


@dataclass
class Match:
    """The matched layers and arrays of two models.

    Attributes:
        torch_calls: The calls from ``record_torch``.
        keras_calls: The calls from ``record_keras``, with parents.
        pairs: The matched calls, in PyTorch's order.
        arrays: Keras's arrays with the names of their PyTorch tensors.
        only_torch: Names of tensors without a match.
        only_keras: Names of arrays without a match.
    """

    torch_calls: list[Call]
    keras_calls: list[Call]
    pairs: list[Matched]
    arrays: list[tuple[Array, tuple[str, ...]]] = field(default_factory=list)
    only_torch: list[str] = field(default_factory=list)
    only_keras: list[str] = field(default_factory=list)

    def to_torch(self, weights: Mapping[str, NDArray]) -> Arrays:
        """Converts Keras's arrays by name to PyTorch's tensors by name; moves elements only, so it suits gradients."""
        found: Arrays = {}
        for array, names in self.arrays:
            if array.name in weights:
                tensors = array.to_torch(weights[array.name])
                found |= {name: np.ascontiguousarray(t) for name, t in zip(names, tensors, strict=True)}
        return found

    def to_keras(self, state: Mapping[str, NDArray]) -> Arrays:
        """Converts a state dict to Keras's arrays by name; a missing second bias counts as zero."""
        found: Arrays = {}
        for array, names in self.arrays:
            if names[0] in state:
                first = np.asarray(state[names[0]])
                tensors = tuple(np.asarray(state.get(name, np.zeros_like(first))) for name in names)
                found[array.name] = np.ascontiguousarray(array.to_keras(tensors))
        return found

    def copy_to_torch(self, keras_model: keras.Model, torch_model: nn.Module) -> None:
        """Copies the matched weights and statistics from the Keras model to the PyTorch model."""
        tensors = {name: torch.from_numpy(array) for name, array in self.to_torch(keras_state(keras_model)).items()}
        network = split_attention(torch_model)  # shares the weights
        network.load_state_dict(tensors, strict=False)  # leaves out the second name of a tied tensor

    def copy_to_keras(self, torch_model: nn.Module, keras_model: keras.Model) -> None:
        """Copies the matched weights and statistics from the PyTorch model to the Keras model."""
        arrays = self.to_keras(torch_state(torch_model))
        for name, variable in named_variables(keras_model).items():
            if name in arrays:
                variable.assign(arrays[name])

    @property
    def names(self) -> dict[str, str]:
        """PyTorch's name of each matched Keras array."""
        return {array.name: names[0] for array, names in self.arrays}

    def rows(self) -> list[list[str]]:
        """Returns a table with a header: PyTorch's layer, Keras's layer, kind, shape of the largest tensor."""
        found = [["PyTorch", "Keras", "kind", "weight"]]
        for pair in self.pairs:
            torch_call, keras_call = self.torch_calls[pair.torch], self.keras_calls[pair.keras]
            if torch_call.kind != OUTPUT:
                flattened = "" if pair.order is None else ", flattened"
                found.append([torch_call.name, keras_call.name, torch_call.kind, _shape(torch_call) + flattened])
        matched = {pair.torch for pair in self.pairs}, {pair.keras for pair in self.pairs}
        for side, calls in enumerate((self.torch_calls, self.keras_calls)):
            alone = [call for place, call in enumerate(calls) if place not in matched[side]]
            found += [[*(call.name, "-")[:: 1 - 2 * side], call.kind, _shape(call)] for call in alone]
        return found

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join(lines)


def _shape(call: Call) -> str:
    return "x".join(map(str, signature(call)[1]))


def torch_state(network: nn.Module) -> Arrays:
    """Returns a copy of a network's parameters and floating-point buffers by name, with its attention split."""
    tensors = split_attention(network).state_dict().items()
    return {name: tensor.cpu().numpy().copy() for name, tensor in tensors if tensor.is_floating_point()}


def match_arrays(match: Match) -> None:
    """Fills in ``arrays``, ``only_torch`` and ``only_keras`` from the matched calls."""
    match.arrays, seen_torch, seen_keras = [], set(), set()
    for pair in match.pairs:
        torch_call, keras_call = match.torch_calls[pair.torch], match.keras_calls[pair.keras]
        if not torch_call.arrays or not keras_call.arrays:
            continue
        known = {role: torch_call.torch_name(role) for role in torch_call.arrays}
        free = [role for role in known if not any(role in array.roles for array in keras_call.arrays)]
        for array in keras_call.arrays:
            roles = array.roles
            if roles[0] not in known:  # an unknown kind: match by shape, then by size
                roles = tuple(role for role in free if torch_call.arrays[role] == array.shapes[0])[:1]
                if not roles and free and np.prod(torch_call.arrays[free[0]]) == np.prod(array.shapes[0]):
                    roles = (free[0],)
                free = [role for role in free if role not in roles]
            names = tuple(known[role] for role in roles if role in known)
            if not names or array.name in seen_keras or len(names) < len(array.roles):
                continue
            if array.shapes[0] != torch_call.arrays[roles[0]]:
                if torch_call.kind in KINDS:
                    continue
                array = _reshaped(array, torch_call.arrays[roles[0]])
            if pair.order is not None and (roles[0] == "weight" or torch_call.kind in FEATUREWISE):
                array = _reordered(array, pair.order)
            match.arrays.append((array, names))
            seen_keras.add(array.name)
            seen_torch |= set(names)
    roles_of = [(call, role) for call in match.torch_calls for role in call.arrays]
    owned = {call.torch_name(role): getattr(call.layer, call.own_roles.get(role, role)) for call, role in roles_of}
    seen = {id(owned[name]) for name in seen_torch}  # a tied tensor has two names
    match.only_torch = [name for name, tensor in owned.items() if id(tensor) not in seen]
    rest = {array.name: array for call in match.keras_calls for array in call.arrays if array.name not in seen_keras}
    match.only_keras = list(rest)
    for array in rest.values():  # of different kinds, such as a dense layer and a 1 x 1 convolution: by role and size
        alike = [n for n in match.only_torch if _compatible(n, tuple(owned[n].shape), array)]
        if not alike:  # positions, say, a parameter in PyTorch and an embedding in Keras
            bare = [n for n in match.only_torch if n.rpartition(".")[2] not in ROLES.values()]
            fitting = [n for n in bare if (tuple(owned[n].shape),) == array.shapes]
            alike = fitting if len(fitting) == 1 else []
        for name in alike[:1]:
            match.arrays.append((_reshaped(array, tuple(owned[name].shape)), (name,)))
            match.only_torch.remove(name)
            match.only_keras.remove(array.name)


def _compatible(name: str, shape: tuple[int, ...], array: Array) -> bool:
    role = array.roles[0] if array.roles[0] in ROLES.values() else ""
    torch_role = name.rpartition(".")[2]
    fits = [s for s in shape if s > 1] == [s for s in array.shapes[0] if s > 1] and len(array.roles) == 1
    return fits and (role == torch_role or (not role and torch_role not in ROLES.values()))


def _reshaped(array: Array, shape: tuple[int, ...]) -> Array:
    """Describes an array of an unknown or different kind: the same elements in another shape if their number agrees."""
    if np.prod(array.shapes[0]) != np.prod(shape) or len(array.roles) > 1:
        return array
    to_torch = lambda a: (array.to_torch(a)[0].reshape(shape),)  # noqa: E731
    to_keras = lambda tensors: array.to_keras((tensors[0].reshape(array.shapes[0]),))  # noqa: E731
    return replace(array, shapes=(shape,), to_torch=to_torch, to_keras=to_keras)


def _reordered(array: Array, order: NDArray) -> Array:
    """Describes an array whose input features PyTorch has in another order: ``tensor[..., order]`` is Keras's."""
    inverse = np.argsort(order)

    def to_torch(a: NDArray) -> Tensors:
        return (array.to_torch(a)[0][..., inverse],)

    return replace(array, to_torch=to_torch, to_keras=lambda tensors: array.to_keras((tensors[0][..., order],)))
