"""Jsonargparse's messages about wrong values, in the words of this project."""

import re
from contextlib import suppress
from pkgutil import resolve_name

from jsonargparse._typehints import get_all_subclass_paths

from cnn_mnist.errors import nearest
from cnn_mnist.setting_checks import TITLES

_TITLES = {kind.__name__: title for kind, title in TITLES.items()}
_TITLES |= {"list": "a list", "dict": "a mapping", "PositiveInt": "a whole number of at least 1"}
"""Types in messages, by Python's names."""


def plain_message(message: str) -> str:
    """Jsonargparse's message on one line; for a wrong value: the flag, the valid values and the given one."""
    message = " ".join(message.split())
    if linked := re.fullmatch(r'Linked "(.+)" must be given via "(.+)"\.', message):
        return f"--{linked[1]}: expected one value for all groups; use --{linked[2]}"
    found = re.fullmatch(r'Parser key "([^"]+)":(.*?)\. Got value: (.*)', message)
    found = found or re.fullmatch(r'Parser key "([^"]+)":.*Subtypes: (\[.*?\]) Errors: .* Given value: (.*)', message)
    if not found or not (kinds := re.findall(r"Literal\[([^]]+)\]|<class '([\w.]+)'>", found[2])):
        return message
    words = ", ".join(
        literal.replace("'", "") or _TITLES.get(kind.rpartition(".")[2], f"a {kind}") for literal, kind in kinds
    )
    meant = nearest(found[3].strip("[]'"), [name for _, kind in kinds for name in _subclasses(kind)])
    return f"--{found[1]}: expected {' or '.join(words.rsplit(', ', 1))}, got {found[3]}{meant}"


def _subclasses(name: str) -> list[str]:
    """Returns the subclasses of a Lightning class; imports no other name, because a message may contain any name."""
    with suppress(ImportError, AttributeError, ValueError):
        known = resolve_name(name) if name.startswith("lightning.") else None
        return get_all_subclass_paths(known) if isinstance(known, type) else []
    return []
