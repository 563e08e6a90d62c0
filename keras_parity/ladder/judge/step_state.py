"""The state of a user's own training step: the objects that it refers to, and the numbers that it counts."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from inspect import isfunction, ismodule
from typing import Any

from keras_parity.ladder.judge.snapshots import refill_of


def objects_in(function: Any, kind: type) -> list[Any]:
    """Finds the objects of a kind that a function's closure and globals refer to, also in lists."""
    values = [value for _, value in _references(function)]
    values += [value for owner in values for value in (owner if isinstance(owner, (list, tuple)) else ())]
    return [value for value in values if isinstance(value, kind)]


def saved_counters(function: Any) -> Callable[[], None]:
    """Returns a function that restores the numbers, and lists and dicts of numbers, that a function's steps may change.

    They are in its closure, among its globals, or attributes of the objects there and of its own object.
    """
    function = function.func if isinstance(function, partial) else function
    found = list(_references(function))
    owners = [getattr(function, "__self__", None), function, *(value for _, value in found)]
    for owner in owners:
        if isinstance(attributes := getattr(owner, "__dict__", None), dict) and not ismodule(owner):
            found += [(partial(attributes.__setitem__, name), value) for name, value in attributes.items()]
    kept = [(assign, value, refill_of(value)) for assign, value in found if _counts(value)]

    def restore() -> None:
        for assign, value, refill in kept:
            assign(value)
            refill()

    return restore


def _references(function: Any) -> Iterator[tuple[Callable[[Any], None], Any]]:
    """Yields the values of a function's closure and globals, each with what assigns it."""
    for cell in getattr(function, "__closure__", None) or ():
        with suppress(ValueError):  # an empty cell
            yield partial(setattr, cell, "cell_contents"), cell.cell_contents
    space = getattr(function, "__globals__", {}) if isfunction(function) else {}
    for name in set(getattr(getattr(function, "__code__", None), "co_names", ())) & space.keys():
        yield partial(space.__setitem__, name), space[name]


def _counts(value: Any) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return all(isinstance(each, (int, float)) for each in inner)
