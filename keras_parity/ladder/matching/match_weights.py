"""Two models side by side: which layer is which, and which array is which tensor."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import keras
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.capture.attention import in_parts
from keras_parity.ladder.capture.calls import OUTPUT, Call
from keras_parity.ladder.capture.keras_calls import variable_names
from keras_parity.ladder.matching.arrays import Array, Tensors
from keras_parity.ladder.matching.kinds import FEATUREWISE, KINDS, ROLES
from keras_parity.ladder.matching.match_layers import Matched, signature

Arrays = dict[str, NDArray]


@dataclass
class Match:
    """The layers and arrays of two models, side by side.

    Attributes:
        torch_calls: What ``record_torch`` gave.
        keras_calls: What ``record_keras`` gave, with parents.
        pairs: The calls that belong together, in the order in which PyTorch runs them.
        arrays: Keras's arrays that have tensors in PyTorch: (array, names of the tensors).
        only_torch: Tensors that Keras has not.
        only_keras: Arrays that PyTorch has not.
        questions: Where more than one answer fits, what was taken and what else there is.
    """

    torch_calls: list[Call]
    keras_calls: list[Call]
    pairs: list[Matched]
    arrays: list[tuple[Array, tuple[str, ...]]] = field(default_factory=list)
    only_torch: list[str] = field(default_factory=list)
    only_keras: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)

    def to_torch(self, weights: Mapping[str, NDArray]) -> Arrays:
        """Keras's arrays by name as tensors by PyTorch's names; it moves elements only, so gradients go through."""
        found: Arrays = {}
        for array, names in self.arrays:
            if array.name in weights:
                tensors = array.to_torch(weights[array.name])
                found |= {name: np.ascontiguousarray(t) for name, t in zip(names, tensors, strict=True)}
        return found

    def to_keras(self, state: Mapping[str, NDArray]) -> Arrays:
        """A state dict as Keras's arrays by name; a second bias that is missing counts as zero."""
        found: Arrays = {}
        for array, names in self.arrays:
            if names[0] in state:
                first = np.asarray(state[names[0]])
                tensors = tuple(np.asarray(state.get(name, np.zeros_like(first))) for name in names)
                found[array.name] = np.ascontiguousarray(array.to_keras(tensors))
        return found

    def copy_to_torch(self, keras_model: keras.Model, torch_model: nn.Module) -> None:
        """Copies the matched weights and statistics of the Keras model into the other."""
        named = {variable_names(keras_model)[id(v)]: v.numpy() for v in keras_model.weights}
        arrays = {name: torch.from_numpy(array) for name, array in self.to_torch(named).items()}
        network = in_parts(torch_model)  # which shares what it owns
        network.load_state_dict(arrays, strict=False)  # a tied tensor has two names, of which the other would win

    def copy_to_keras(self, torch_model: nn.Module, keras_model: keras.Model) -> None:
        """Copies the matched weights and statistics of the PyTorch model into the other."""
        arrays = self.to_keras(
            {name: t.detach().cpu().numpy() for name, t in in_parts(torch_model).state_dict().items()}
        )
        names = variable_names(keras_model)
        for variable in keras_model.weights:
            if names[id(variable)] in arrays:
                variable.assign(arrays[names[id(variable)]])

    def torch_name(self, keras_name: str) -> str:
        """PyTorch's name of an array of Keras's, where it has one."""
        return next((names[0] for array, names in self.arrays if array.name == keras_name), keras_name)

    def rows(self) -> list[list[str]]:
        """Layer by layer: PyTorch's name, Keras's, kind, shape of the greatest tensor."""
        found = [["PyTorch", "Keras", "kind", "weight"]]
        for pair in self.pairs:
            ours, theirs = self.torch_calls[pair.torch], self.keras_calls[pair.keras]
            shape = "x".join(map(str, signature(ours)[1])) + ("" if pair.order is None else ", flattened")
            if ours.kind != OUTPUT:
                found.append([ours.name, theirs.name, ours.kind, shape])
        for place, call in enumerate(self.torch_calls):
            if place not in {pair.torch for pair in self.pairs}:
                found.append([call.name, "-", call.kind, "x".join(map(str, signature(call)[1]))])
        for place, call in enumerate(self.keras_calls):
            if place not in {pair.keras for pair in self.pairs}:
                found.append(["-", call.name, call.kind, "x".join(map(str, signature(call)[1]))])
        return found

    def __str__(self) -> str:
        rows = self.rows()
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, *self.questions])


def match_arrays(match: Match) -> None:
    """Fills in which array is which tensor, from the pairs of calls."""
    match.arrays, seen_torch, seen_keras = [], set(), set()
    for pair in match.pairs:
        ours, theirs = match.torch_calls[pair.torch], match.keras_calls[pair.keras]
        if not ours.arrays or not theirs.arrays:
            continue
        known = {role: ours.torch_name(role) for role in ours.arrays}
        left = [role for role in known if not any(role in array.roles for array in theirs.arrays)]
        for array in theirs.arrays:
            roles = array.roles
            if roles[0] not in known:  # a kind that is not known: by shape
                fitting = [role for role in left if ours.arrays[role] == array.shapes[0]]
                roles = tuple(fitting[:1]) or tuple(
                    role for role in left[:1] if np.prod(ours.arrays[role]) == np.prod(array.shapes[0]))  # fmt: skip
                left = [role for role in left if role not in roles]
            names = tuple(known[role] for role in roles if role in known)
            if not names or array.name in seen_keras or len(names) < len(array.roles):
                continue
            if array.shapes[0] != ours.arrays[roles[0]]:
                if ours.kind in KINDS:
                    continue
                array = _reshaped(array, ours.arrays[roles[0]])
            if pair.order is not None and (roles[0] == "weight" or ours.kind in FEATUREWISE):
                array = _reordered(array, pair.order)
            match.arrays.append((array, names))
            seen_keras.add(array.name)
            seen_torch |= set(names)
    shapes = {call.torch_name(r): s for call in match.torch_calls for r, s in dict(call.arrays).items()}
    owned = {
        call.torch_name(r): getattr(call.layer, call.own_roles.get(r, r))
        for call in match.torch_calls
        for r in call.arrays
    }
    seen = {id(owned[name]) for name in seen_torch}  # a tied tensor has two names
    match.only_torch = [name for name in shapes if id(owned[name]) not in seen]
    rest = {array.name: array for call in match.keras_calls for array in call.arrays if array.name not in seen_keras}
    match.only_keras = list(rest)
    for array in rest.values():  # of kinds that differ, as a dense layer and a convolution of 1 x 1: by role and size
        name = next((n for n in match.only_torch if _alike(n, shapes[n], array)), None)
        if name is not None:
            match.arrays.append((_reshaped(array, shapes[name]), (name,)))
            match.only_torch.remove(name)
            match.only_keras.remove(array.name)


def _alike(name: str, shape: tuple[int, ...], array: Array) -> bool:
    role = array.roles[0] if array.roles[0] in ROLES.values() else ""
    mine = name.rpartition(".")[2]
    fits = [s for s in shape if s > 1] == [s for s in array.shapes[0] if s > 1] and len(array.roles) == 1
    return fits and (role == mine or (not role and mine not in ROLES.values()))


def _reshaped(array: Array, shape: tuple[int, ...]) -> Array:
    """Of a kind that is not known, or of a layer that differs: the same elements where the number allows it."""
    if np.prod(array.shapes[0]) != np.prod(shape) or len(array.roles) > 1:
        return array
    inner, own = array.to_keras, array.shapes[0]
    there = lambda a: (array.to_torch(a)[0].reshape(shape),)  # noqa: E731
    return replace(array, shapes=(shape,), to_torch=there, to_keras=lambda t: inner((t[0].reshape(own),)))


def _reordered(array: Array, order: NDArray) -> Array:
    """What PyTorch has for its inputs in another order: ``torch_input[..., order]`` is Keras's."""
    inverse = np.argsort(order)

    def there(a: NDArray) -> Tensors:
        return (array.to_torch(a)[0][..., inverse],)

    return replace(array, to_torch=there, to_keras=lambda tensors: array.to_keras((tensors[0][..., order],)))
