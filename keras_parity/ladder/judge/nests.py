"""Nests of arrays: what a model takes and gives, in whatever form, and how far two of them are apart."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import keras
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

map_nest = keras.tree.map_structure


def leaves(nest: Any) -> Iterator[Any]:
    """The tensors of a nest of tuples, lists, mappings and dataclasses, in their own order; None is left out."""
    if isinstance(nest, Mapping):
        nest = list(nest.values())
    elif is_dataclass(nest):
        nest = [getattr(nest, field.name) for field in fields(nest)]
    if isinstance(nest, (tuple, list)):
        for inner in nest:
            yield from leaves(inner)
    elif nest is not None:
        yield nest


def with_c_strides(array: NDArray) -> NDArray:
    """A copy with C strides along every axis, also those of one element, as ``view`` needs them."""
    return np.array(array, order="C")


def to_array(tensor: Any) -> NDArray:
    """A tensor of either framework as an array."""
    return tensor.detach().cpu().numpy() if isinstance(tensor, torch.Tensor) else keras.ops.convert_to_numpy(tensor)


def to_arrays(outputs: Any, like: Any = None) -> list[NDArray]:
    """The arrays of a nest; of a mapping in the order of ``like``, where that has the same keys."""
    if isinstance(outputs, Mapping) and isinstance(like, Mapping) and outputs.keys() == like.keys():
        outputs = [outputs[name] for name in like]
    return [to_array(tensor) for tensor in leaves(outputs)]


def call_torch(model: nn.Module, inputs: Any) -> Any:
    """Calls a module: several inputs by place, a mapping by name where ``forward`` has these names, else as it is."""
    if isinstance(inputs, Mapping):
        code = getattr(model.forward, "__code__", None)
        named = code is not None and set(inputs) <= set(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
        return model(**inputs) if named else model(inputs)
    return model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)


@dataclass(frozen=True)
class Layout:
    """How the axes of one of PyTorch's outputs become those of Keras's.

    Attributes:
        text: In words; empty where they are the same.
        axes: Source and destination of the axis that moves; None where none does.
    """

    text: str
    axes: tuple[int, int] | None = None

    def turn(self, array: Any) -> Any:
        """The array or tensor with its axes as Keras has them."""
        if self.axes is None:
            return array
        return array.movedim(*self.axes) if isinstance(array, torch.Tensor) else np.moveaxis(array, *self.axes)


LAYOUTS = (
    Layout(""),
    Layout("channels moved from axis 1 to the end", (1, -1)),
    Layout("channels moved from the end to axis 1", (-1, 1)),
    Layout("the steps' axis behind the batch's", (0, 1)),
)


def find_layouts(ours: list[NDArray], theirs: list[NDArray]) -> list[Layout]:
    """Of each output the layout under which the two are nearest; outputs of other shapes keep theirs."""
    return [
        min(LAYOUTS if a.ndim > 2 else LAYOUTS[:1], key=lambda layout: (array_distance(layout.turn(a), b), layout.text))
        for a, b in zip(ours, theirs, strict=False)
    ]


def distance(ours: list[NDArray], theirs: list[NDArray], layouts: list[Layout] | None = None) -> float:
    """The greatest difference of two lists of outputs, each relative to its size; infinite where their forms differ."""
    if len(ours) != len(theirs) or not ours:
        return float("inf")
    turned = [layout.turn(a) for layout, a in zip(layouts, ours, strict=True)] if layouts else ours
    return max(array_distance(a, b) for a, b in zip(turned, theirs, strict=True))


def array_distance(ours: NDArray, theirs: NDArray) -> float:
    """Greatest difference over the greatest finite value of the two; NaN is never the same as anything."""
    if ours.shape != theirs.shape:
        ours, theirs = ours.squeeze(), theirs.squeeze()
    if ours.shape != theirs.shape or "O" in (ours.dtype.kind, theirs.dtype.kind):
        return float("inf")
    ours, theirs = (array.astype("float64") if array.dtype.kind != "c" else array for array in (ours, theirs))
    sizes = [np.abs(array[np.isfinite(array)]).max(initial=0.0) for array in (ours, theirs)]
    with np.errstate(invalid="ignore"):
        difference = np.abs(np.where(ours == theirs, 0.0, ours - theirs)).max(initial=0.0)
    return float(difference / (max(sizes) or 1.0)) if np.isfinite(difference) else float("inf")


def cut(nest: Any, start: int, stop: int) -> Any:
    """A part of the samples of every array of a nest."""
    return map_nest(lambda array: array[start:stop], nest)


def count_samples(nest: Any) -> int:
    """How many samples the first array of a nest has."""
    return len(next(leaves(nest)))


def nudged(nest: Any, random: np.random.Generator, part: float) -> Any:
    """Floats of a nest, each enlarged or reduced by a part of itself; all else as it is."""
    sign = lambda array: random.choice(np.array([1 - part, 1 + part], array.dtype), array.shape)  # noqa: E731
    return map_nest(lambda array: array * sign(array) if array.dtype.kind == "f" else array, nest)


Loss = Callable[[Any, Any], Any]
