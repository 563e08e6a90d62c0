"""Checks the values of settings, wherever they come from: flags, files, Python or a checkpoint."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from cnn_mnist.errors import UserError

_KINDS: dict[Any, tuple[type, str]] = {
    float: (Real, "a number"),
    int: (Integral, "a whole number"),
    bool: (bool, "true or false"),
    str: (str, "a text"),
    str | None: (str | None, "a text"),  # type: ignore[dict-item]
}

_hints = cache(get_type_hints)  # a search for the size of an image makes a layer 500 times


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


def check_settings(settings: Any, ranges: Mapping[str, Range]) -> None:
    """Raises ``UserError`` unless each field of a dataclass has its type and is in its range.

    Args:
        settings: The dataclass.
        ranges: The ranges by field; a field without one may have any value of its type.
    """
    hints = _hints(type(settings))
    for name in (field.name for field in fields(settings)):
        hint, value = hints[name], getattr(settings, name)
        if get_origin(hint) is Literal:
            expect(name, value in get_args(hint), f"one of {', '.join(get_args(hint))}", value)
        elif hint in _KINDS:
            kind, title = _KINDS[hint]
            expect(name, isinstance(value, kind) and (kind is bool or not isinstance(value, bool)), title, value)
        if valid := ranges.get(name):
            expect(name, valid.holds(value), valid.expected, value)


def expect(name: str, holds: bool, expected: str, actual: object) -> None:
    """Raises ``UserError`` unless a setting holds.

    Args:
        name: Name of the setting.
        holds: Whether its value is right.
        expected: What was expected, for the message.
        actual: The value.
    """
    if not holds:
        raise UserError(f"{name}: expected {expected}, got {actual}")
