"""Networks as records, the content of a YAML file.

``[{"Conv2D": {"filters": 32, "kernel_size": 3}}, "Flatten", {"Dense": 10}]``, beginning with ``{"Input": [32, 32, 3]}``
if images are not 28x28x1.
"""

import reprlib
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from cnn_mnist.architecture.layer_spec import LayerSpec
from cnn_mnist.architecture.layers import ALIASES, KINDS
from cnn_mnist.architecture.network import IMAGE_SHAPE, Network
from cnn_mnist.errors import UserError, expect, nearest, told_of


def from_records(records: Sequence[Any], left_out: Mapping[str, Any] | None = None) -> Network:
    """Makes a network.

    Args:
        records: The records of its layers.
        left_out: Options of their source that affect only training; see ``Network``.

    Raises:
        UserError: A layer is unknown, has a wrong argument or does not fit.
    """
    layers, input_shape = list(records), IMAGE_SHAPE
    if layers and isinstance(layers[0], Mapping) and "Input" in layers[0]:
        input_shape = _input_shape(layers.pop(0)["Input"])
    return Network([_record(number, entry) for number, entry in enumerate(layers, start=1)], input_shape, left_out)


def to_records(network: Network) -> list[Any]:
    """Returns the shortest records of a network; the inverse of ``from_records``."""
    start = [] if network.input_shape == IMAGE_SHAPE else [{"Input": list(network.input_shape)}]
    return [*start, *map(_plain_record, network.layers)]


def brief(value: Any) -> str:
    """Shortens a value for a message."""
    return textwrap.shorten(reprlib.repr(value), 100)


def _record(number: int, entry: Any) -> LayerSpec:
    kind, value = (entry, None) if isinstance(entry, str) else (None, None)
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((kind, value),) = entry.items()
    if str(kind) in ALIASES and not value:
        return ALIASES[str(kind)]
    make = KINDS.get(str(kind))
    if make is None:
        known, actual = [*KINDS, *ALIASES], f"{brief(entry)}{nearest(str(kind), [*KINDS, *ALIASES])}"
        raise UserError(f"layer {number}: expected one of {', '.join(known)}, got {actual}")
    arguments: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
    with told_of(f"layer {number}, {kind}: "):
        try:
            return make(**arguments) if value is None or isinstance(value, Mapping) else make(value)
        except TypeError:
            known = [field.name for field in fields(make)]
            unknown = next((name for name in arguments if name not in known), None)
            actual = f"{unknown}{nearest(unknown, known)}" if unknown is not None else brief(value)
            raise UserError(f"expected its {', '.join(known) or 'name only'}, got {actual}") from None


def _plain_record(layer: LayerSpec) -> str | dict[str, Any]:
    """Returns the layer with its required and non-default arguments."""
    kind = type(layer)
    arguments = {field.name: getattr(layer, field.name) for field in fields(layer)}
    for name in list(arguments):
        fewer = {other: value for other, value in arguments.items() if other != name}
        try:
            if kind(**fewer) == layer:
                arguments = fewer
        except TypeError:  # a required argument
            continue
    if not arguments:
        return kind.__name__
    written = {name: _short(value) for name, value in arguments.items()}
    first = fields(layer)[0].name
    return {kind.__name__: written[first] if list(written) == [first] else written}


def _short(value: Any) -> Any:
    """Converts tuples to lists, and pairs of equal numbers to one number."""
    if not isinstance(value, tuple):
        return value
    sides = [_short(side) for side in value]
    return sides[0] if len(sides) == 2 and sides[0] == sides[1] and isinstance(sides[0], int) else sides


def _input_shape(value: Any) -> tuple[int, ...]:
    sizes = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    right = len(sizes) in (1, 3) and all(type(size) is int and size > 0 for size in sizes)
    expect("Input", right, "height, width and channels", brief(value))
    return tuple(sizes)
