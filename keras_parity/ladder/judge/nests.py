"""Nests of arrays: the inputs and outputs of models, in any structure, and the distance between two of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import keras
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Arrays = dict[str, NDArray]
map_nest = keras.tree.map_structure


def leaves(nest: Any) -> Iterator[Any]:
    """Yields the tensors of nested tuples, lists, mappings and dataclasses, in their own order, without None."""
    if isinstance(nest, Mapping):
        nest = list(nest.values())
    elif is_dataclass(nest):
        nest = [getattr(nest, field.name) for field in fields(nest)]
    if isinstance(nest, (tuple, list)):
        for inner in nest:
            yield from leaves(inner)
    elif nest is not None:
        yield nest


def to_arrays(outputs: Any, like: Any = None) -> list[NDArray]:
    """Converts the tensors of a nest, of either framework; a mapping with the keys of ``like`` takes its order."""
    if isinstance(outputs, Mapping) and isinstance(like, Mapping) and outputs.keys() == like.keys():
        outputs = [outputs[name] for name in like]
    return [
        tensor.detach().cpu().numpy() if isinstance(tensor, torch.Tensor) else keras.ops.convert_to_numpy(tensor)
        for tensor in leaves(outputs)
    ]


def to_tensors(nest: Any, device: torch.device | str, dtype: torch.dtype | None = None) -> Any:
    """Copies the arrays of a nest into torch tensors with C strides; ``dtype`` applies to floats only."""

    def convert(array: NDArray) -> torch.Tensor:
        # Strides along axes of one element count too: ``view`` needs them, and ``ascontiguousarray`` leaves others.
        tensor = torch.tensor(np.array(array, order="C"), device=device)
        return tensor.to(dtype or tensor.dtype) if tensor.is_floating_point() else tensor

    return map_nest(convert, nest)


def to_keras_inputs(inputs: Any) -> Any:
    """Converts a nest to what a Keras model is called with: an array if there is one, a list of several, a mapping."""
    if isinstance(inputs, (tuple, list)):
        return list(inputs) if len(inputs) > 1 else inputs[0]
    return inputs


def call_torch(model: nn.Module, inputs: Any) -> Any:
    """Calls a module with several inputs by position, or with a mapping by name if ``forward`` has these names."""
    if isinstance(inputs, Mapping):
        code = getattr(model.forward, "__code__", None)
        named = code is not None and set(inputs) <= set(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
        return model(**inputs) if named else model(inputs)
    return model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)


@dataclass(frozen=True)
class Layout:
    """The permutation that turns the axes of one PyTorch output into Keras's.

    Attributes:
        text: In words; empty for the identity.
        axes: Source and destination of the moved axis; None for the identity.
    """

    text: str
    axes: tuple[int, int] | None = None

    def apply(self, array: Any) -> Any:
        """Moves the axis of an array or a tensor."""
        if self.axes is None:
            return array
        return array.movedim(*self.axes) if isinstance(array, torch.Tensor) else np.moveaxis(array, *self.axes)


LAYOUTS = (
    Layout(""),
    Layout("channels moved from axis 1 to the last axis", (1, -1)),
    Layout("channels moved from the last axis to axis 1", (-1, 1)),
    Layout("time axis moved after the batch axis", (0, 1)),
)


def find_layouts(from_torch: list[NDArray], from_keras: list[NDArray]) -> list[Layout]:
    """Picks, for each pair of outputs, the layout with the smallest distance; on a tie the identity."""
    return [
        min(LAYOUTS if a.ndim > 2 else LAYOUTS[:1], key=lambda found: (array_distance(found.apply(a), b), found.text))
        for a, b in zip(from_torch, from_keras, strict=False)
    ]


def distance(first: list[NDArray], second: list[NDArray], layouts: list[Layout] | None = None) -> float:
    """Returns the largest ``array_distance`` of two lists of outputs; infinite if their lengths differ.

    Args:
        first: Outputs.
        second: Outputs to compare with.
        layouts: Applied to ``first``, one each.
    """
    if len(first) != len(second) or not first:
        return float("inf")
    moved = [layout.apply(a) for layout, a in zip(layouts, first, strict=True)] if layouts else first
    return max(array_distance(a, b) for a, b in zip(moved, second, strict=True))


def array_distance(a: NDArray, b: NDArray) -> float:
    """Returns the largest absolute difference over the largest finite magnitude; infinite for NaN or other shapes."""
    if a.shape != b.shape:
        a, b = a.squeeze(), b.squeeze()
    if a.shape != b.shape or "O" in (a.dtype.kind, b.dtype.kind):
        return float("inf")
    a, b = (array.astype("float64") if array.dtype.kind != "c" else array for array in (a, b))
    sizes = [np.abs(array[np.isfinite(array)]).max(initial=0.0) for array in (a, b)]
    with np.errstate(invalid="ignore"):
        difference = np.abs(np.where(a == b, 0.0, a - b)).max(initial=0.0)
    return float(difference / (max(sizes) or 1.0)) if np.isfinite(difference) else float("inf")


def slice_samples(nest: Any, start: int, stop: int) -> Any:
    """Slices axis 0 of every array of a nest."""
    return map_nest(lambda array: array[start:stop], nest)


def count_samples(nest: Any) -> int:
    """Returns the length of axis 0 of a nest's first array."""
    return len(next(leaves(nest)))


def perturb(nest: Any, random: np.random.Generator, fraction: float) -> Any:
    """Multiplies every float of a nest by ``1 - fraction`` or ``1 + fraction``, at random."""
    factor = lambda a: random.choice(np.array([1 - fraction, 1 + fraction], a.dtype), a.shape)  # noqa: E731
    return map_nest(lambda array: array * factor(array) if array.dtype.kind == "f" else array, nest)
