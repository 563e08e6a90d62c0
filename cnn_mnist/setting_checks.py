"""Checks the values of settings, wherever they come from: flags, files, Python or a checkpoint."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from numbers import Integral, Real
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from cnn_mnist.errors import expect

TITLES: dict[Any, str] = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a text",
    NoneType: "null",
}
"""Types in messages."""

_KINDS: dict[Any, type] = {float: Real, int: Integral}


class Range(NamedTuple):
    """The valid values of a setting.

    Attributes:
        expected: Their description, for a message.
        holds: Whether a value of the right type is one of them.
    """

    expected: str
    holds: Callable[[Any], bool]


FRACTION = Range("0 or more and less than 1", lambda value: 0 <= value < 1)
POSITIVE = Range("a number over 0", lambda value: 0 < value < math.inf)


def at_least(least: int, unit: str = "") -> Range:
    """Returns the range of numbers from ``least`` on; ``unit`` is for the message."""
    return Range(f"{least} or more {unit}".strip(), lambda value: value >= least)


@cache  # a search for the size of an image makes a layer 500 times
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def check_settings(settings: Any, ranges: Mapping[str, Range]) -> None:
    """Raises ``UserError`` unless each field of a dataclass has its type and is in its range.

    Args:
        settings: The dataclass.
        ranges: The ranges by field; a field without one may have any value of its type.
    """
    hints = _hints(settings.__class__)
    for name in (field.name for field in fields(settings)):
        value, kinds = getattr(settings, name), get_args(hints[name]) or (hints[name],)
        if get_origin(hints[name]) is Literal:
            expect(name, value in kinds, f"one of {', '.join(kinds)}", value)
        elif TITLES.keys() >= set(kinds):
            own = [_KINDS.get(kind, kind) for kind in kinds if (kind is bool) == (type(value) is bool)]
            expect(name, isinstance(value, tuple(own)), " or ".join(TITLES[kind] for kind in kinds), value)
        if valid := ranges.get(name):
            expect(name, valid.holds(value), valid.expected, value)
