"""Matches the calls of one model with those of the other."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.capture.calls import OUTPUT, Call
from keras_parity.ladder.judge.nests import array_distance

DEPTHS = (64, 16, 8, 4, 2, 1, 0)
"""Weisfeiler-Lehman depths, largest first; smaller ones tolerate a local fault."""

SAME = 1e-4
"""Relative difference of two inputs that are the same."""


@dataclass(frozen=True)
class Matched:
    """A pair of matched calls.

    Attributes:
        torch: Index among PyTorch's calls.
        keras: Index among Keras's calls.
        order: For a dense layer after a flatten: indices that put PyTorch's features into Keras's order.
    """

    torch: int
    keras: int
    order: NDArray | None = None


def signature(call: Call) -> tuple[str, tuple[int, ...]]:
    """Returns a call's kind and the shape of its largest tensor, in PyTorch's layout."""
    arrays = call.arrays
    shapes = (
        list(arrays.values()) if isinstance(arrays, dict) else [shape for array in arrays for shape in array.shapes]
    )
    kind = call.kind if shapes or call.kind == OUTPUT else f"{call.kind} without weights"
    return kind, max(shapes, key=lambda shape: (np.prod(shape), shape), default=())


def match_calls(torch_calls: list[Call], keras_calls: list[Call], names: Mapping[str, str]) -> list[Matched]:
    """Matches calls by their surroundings, from large neighbourhoods to small; among equals by name, input, then order.

    Args:
        torch_calls: PyTorch's calls.
        keras_calls: Keras's calls.
        names: Keras's layer name by PyTorch's, for layers that the user has matched.

    Returns:
        The pairs, in the order of PyTorch's calls.
    """
    matched: dict[int, int] = {}
    for torch_name, keras_name in names.items():
        left = [i for i, call in enumerate(torch_calls) if call.name == torch_name]
        right = [i for i, call in enumerate(keras_calls) if call.name == keras_name]
        matched |= zip(left, right, strict=False)
    for depth in DEPTHS:
        groups: dict[Any, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for place, colour in enumerate(_colours(torch_calls, depth)):
            if place not in matched:
                groups[colour][0].append(place)
        for place, colour in enumerate(_colours(keras_calls, depth)):
            if place not in matched.values():
                groups[colour][1].append(place)
        for left, right in groups.values():
            if len(left) == len(right):
                chosen = _by_name(torch_calls, keras_calls, left, right)
                matched |= chosen or _by_input(torch_calls, keras_calls, left, right, matched)
    _in_order(torch_calls, keras_calls, matched)
    return [Matched(place, matched[place]) for place in sorted(matched)]


def _by_name(
    torch_calls: list[Call], keras_calls: list[Call], left: Sequence[int], right: Sequence[int]
) -> dict[int, int]:
    """Matches calls of the same names, if all names agree."""
    places = {keras_calls[place].name.replace("/", "."): place for place in right}
    names = [torch_calls[place].name for place in left]
    agree = len(set(names)) == len(names) and places.keys() >= set(names)
    return {place: places[name] for place, name in zip(left, names, strict=True)} if agree else {}


def _by_input(
    torch_calls: list[Call],
    keras_calls: list[Call],
    left: Sequence[int],
    right: Sequence[int],
    matched: Mapping[int, int],
) -> dict[int, int]:
    """Matches calls that are fed by matched calls, or with the same values, such as those of a layer for two inputs."""
    found: dict[int, int] = {}
    for place in left:
        alike = (other for other in right if _fed_alike(torch_calls[place], keras_calls[other], matched))
        if (other := next((other for other in alike if other not in found.values()), None)) is not None:
            found[place] = other
    rest = iter([other for other in right if other not in found.values()])
    return {place: found[place] if place in found else next(rest) for place in left}


def _fed_alike(torch_call: Call, keras_call: Call, matched: Mapping[int, int]) -> bool:
    if torch_call.parents:
        return {matched.get(place) for place, _ in torch_call.parents} == {place for place, _ in keras_call.parents}
    ours, theirs = torch_call.input, keras_call.input
    return ours is not None and theirs is not None and array_distance(ours, theirs) <= SAME


def _colours(calls: list[Call], depth: int) -> list[Any]:
    """Hashes each call with its kind, its shape and its surroundings up to ``depth`` calls away."""
    children: dict[int, list[tuple[int, tuple[str, ...]]]] = defaultdict(list)
    for place, call in enumerate(calls):
        for parent, joins in call.parents:
            children[parent].append((place, joins))
    colours = [hash(signature(call)) for call in calls]
    for _ in range(min(depth, len(calls))):
        colours = [
            hash((
                colours[place],
                tuple(sorted((joins, colours[parent]) for parent, joins in call.parents)),
                tuple(sorted((joins, colours[child]) for child, joins in children[place])),
            ))
            for place, call in enumerate(calls)
        ]  # fmt: skip
    return colours


def _in_order(torch_calls: list[Call], keras_calls: list[Call], matched: dict[int, int]) -> None:
    """Matches the remaining calls in order: by kind and shape, then by kind alone."""
    for key in (signature, lambda call: call.kind):
        left = [place for place in range(len(torch_calls)) if place not in matched]
        right = [place for place in range(len(keras_calls)) if place not in matched.values()]
        keys = [key(torch_calls[place]) for place in left], [key(keras_calls[place]) for place in right]
        for i, j, size in SequenceMatcher(None, *keys, autojunk=False).get_matching_blocks():
            matched |= zip(left[i : i + size], right[j : j + size], strict=True)
