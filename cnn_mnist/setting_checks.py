"""Checks the values of settings, wherever they come from: flags, files, Python or a checkpoint."""

from numbers import Integral, Real
from typing import Any, Literal, get_args, get_origin, get_type_hints

from cnn_mnist.errors import UserError

_KINDS: dict[Any, tuple[type, str]] = {
    float: (Real, "a number"),
    int: (Integral, "a whole number"),
    bool: (bool, "true or false"),
    str: (str, "a text"),
    str | None: (str | None, "a text"),  # type: ignore[dict-item]
}


def check_types(settings: Any) -> None:
    """Raises ``UserError`` unless each setting has the type of its field."""
    for name, hint in get_type_hints(type(settings)).items():
        value = getattr(settings, name)
        if get_origin(hint) is Literal:
            expect(name, value in get_args(hint), f"one of {', '.join(get_args(hint))}", value)
        elif hint in _KINDS:
            kind, title = _KINDS[hint]
            expect(name, isinstance(value, kind) and (kind is bool or not isinstance(value, bool)), title, value)


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
