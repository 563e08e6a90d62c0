"""Which call of one model is which of the other."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.capture.calls import OUTPUT, Call

DEPTHS = (64, 16, 8, 4, 2, 1, 0)
"""How far around a call one looks to tell it from its like: first far, then nearer, as far as a fault reaches."""


@dataclass(frozen=True)
class Matched:
    """A call on both sides.

    Attributes:
        torch: Place among PyTorch's calls.
        keras: Place among Keras's.
        order: Where a dense layer reads what PyTorch flattened by channel: the features of PyTorch's input in Keras's
            order, as places.
    """

    torch: int
    keras: int
    order: NDArray | None = None


def signature(call: Call) -> tuple[str, tuple[int, ...]]:
    """Kind and shape of the greatest tensor, in PyTorch's layout."""
    arrays = call.arrays
    shapes = (
        list(arrays.values()) if isinstance(arrays, dict) else [shape for array in arrays for shape in array.shapes]
    )
    kind = call.kind if shapes or call.kind == OUTPUT else f"{call.kind} without weights"
    return kind, max(shapes, key=lambda shape: (np.prod(shape), shape), default=())


def match_calls(ours: list[Call], theirs: list[Call], given: Mapping[str, str] | None = None) -> list[Matched]:
    """Pairs of calls that have the same surroundings, from far to near; among equals by name, then in order.

    Args:
        ours: PyTorch's calls.
        theirs: Keras's.
        given: Keras's name by PyTorch's name, for the layers that the user has matched.
    """
    taken: dict[int, int] = {}
    free = set(range(len(theirs)))

    def take(left: Sequence[int], right: Sequence[int]) -> None:
        for one, other in zip(left, right, strict=False):
            taken[one] = other
            free.discard(other)

    for name, wanted in (given or {}).items():
        take([i for i, call in enumerate(ours) if call.name == name],
             [i for i, call in enumerate(theirs) if call.name == wanted])  # fmt: skip
    for depth in DEPTHS:
        colours = _colours(ours, depth), _colours(theirs, depth)
        groups: dict[Any, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for place, colour in enumerate(colours[0]):
            if place not in taken:
                groups[colour][0].append(place)
        for place, colour in enumerate(colours[1]):
            if place in free:
                groups[colour][1].append(place)
        for left, right in groups.values():
            if len(left) == len(right):
                _by_name(ours, theirs, left, right, take)
    _in_order(ours, theirs, taken, free)
    return [Matched(one, taken[one]) for one in sorted(taken)]


def _by_name(
    ours: list[Call], theirs: list[Call], left: list[int], right: list[int], take: Callable[..., None]
) -> None:
    plain = lambda name: name.replace("/", ".")  # noqa: E731
    names = {plain(theirs[place].name): place for place in right}
    same = [place for place in left if plain(ours[place].name) in names]
    if len(same) == len(left):
        right = [names[plain(ours[place].name)] for place in left]
    take(left, right)


def _colours(calls: list[Call], depth: int) -> list[Any]:
    """A number for each call that stands for its kind, its shape and what surrounds it, ``depth`` calls far."""
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


def _in_order(ours: list[Call], theirs: list[Call], taken: dict[int, int], free: set[int]) -> None:
    """What is left over, by the longest common subsequence of kinds and shapes, then of kinds alone."""
    for key in (signature, lambda call: call.kind):
        left, right = [i for i in range(len(ours)) if i not in taken], sorted(free)
        longest = np.zeros((len(left) + 1, len(right) + 1), int)
        same = lambda i, j: key(ours[left[i]]) == key(theirs[right[j]])  # noqa: E731, B023
        for i in reversed(range(len(left))):
            for j in reversed(range(len(right))):
                both = longest[i + 1, j + 1] + 1 if same(i, j) else 0
                longest[i, j] = max(both, longest[i + 1, j], longest[i, j + 1])
        i = j = 0
        while i < len(left) and j < len(right):
            if same(i, j) and longest[i, j] == longest[i + 1, j + 1] + 1:
                taken[left[i]] = right[j]
                free.discard(right[j])
                i, j = i + 1, j + 1
            elif longest[i + 1, j] >= longest[i, j + 1]:
                i += 1
            else:
                j += 1
