"""Reads descriptions of networks from all sources, and writes them in the plain form.

The plain form is the content of a YAML file: ``[{"Conv2D": {"filters": 32, "kernel_size": 3}}, "Flatten",
{"Dense": 10}]``, beginning with ``{"Input": [32, 32, 3]}`` if images are not 28x28x1; or the name of a packaged
network.
"""

import reprlib
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from cnn_mnist.architecture import description_files, from_model, original
from cnn_mnist.architecture.examples import EXAMPLES
from cnn_mnist.architecture.from_keras import from_keras
from cnn_mnist.architecture.layer_spec import LayerSpec
from cnn_mnist.architecture.layers import ALIASES, KINDS
from cnn_mnist.architecture.network import IMAGE_SHAPE, Network
from cnn_mnist.errors import UserError, nearest

Description = str | list[Any]

FILES: dict[str, Callable[[Path], Any]] = {
    **dict.fromkeys((".yaml", ".yml", ".json"), description_files.read_yaml),
    ".keras": description_files.read_keras,
    ".ckpt": description_files.read_ckpt,
    ".safetensors": description_files.read_safetensors,
}
"""Reader of a description by the ending of its file."""


def read_network(description: Any) -> Network:
    """Reads a network from a description, without running code and without importing a framework.

    Args:
        description: The name of a packaged network; a list of records in the plain form; Keras's own configuration of a
            model; or a file that holds one of these: ``.yaml``, ``.json``, ``.keras``, or a ``.ckpt`` or
            ``.safetensors`` of this project. No code of a file runs. In Python also a Keras model, or a torch
            ``nn.Sequential``, which is taken to see square images; it is run, and must give what its description gives.

    Raises:
        UserError: The description is of another kind, or a layer is unknown, has a wrong argument or does not fit.

    Example:
        >>> read_network([{"Conv2D": {"filters": 8, "kernel_size": 3}}, "Flatten", {"Dense": 10}]).parameters
        54170
    """
    if isinstance(description, Network):
        return description
    if isinstance(description, str):
        if description in EXAMPLES:
            return EXAMPLES[description]
        path = Path(description).expanduser()
        if path.suffix not in FILES:
            known = ", ".join(EXAMPLES)
            raise UserError(
                f"unknown architecture {description!r}: expected one of {known}, or a file that ends in one of "
                f"{', '.join(FILES)}{nearest(description, EXAMPLES)}"
            )
        if not path.is_file():
            raise UserError(f"architecture: expected a file, got {description}, which does not exist")
        try:
            return read_network(FILES[path.suffix](path))
        except UserError as error:
            raise UserError(f"{description}: {error}") from None
    if hasattr(description, "to_json") or hasattr(description, "named_children"):
        return original.check_rebuilt(description, read_network(from_model.describe(description, read_network)))
    left_out: dict[str, Any] = {}
    if isinstance(description, Mapping):
        description, left_out = from_keras(description)
    if not isinstance(description, Sequence):
        raise UserError(f"architecture: expected a name or a list of layers, got {_brief(description)}")
    records, input_shape = list(description), IMAGE_SHAPE
    if records and isinstance(records[0], Mapping) and "Input" in records[0]:
        input_shape = _input_shape(records.pop(0)["Input"])
    layers = [_record(number, entry) for number, entry in enumerate(records, start=1)]
    return Network(layers, input_shape, left_out)


def plain(network: Network) -> Description:
    """Returns the shortest description of a network in the plain form; the inverse of ``read_network``."""
    for name, known in EXAMPLES.items():
        if network == known:
            return name
    start = [] if network.input_shape == IMAGE_SHAPE else [{"Input": list(network.input_shape)}]
    return [*start, *map(_plain_record, network.layers)]


def title(description: Any) -> str:
    """Returns the name of a packaged network, otherwise its number of parameters."""
    return description if isinstance(description, str) else f"{read_network(description).parameters:,} parameters"


def _record(number: int, entry: Any) -> LayerSpec:
    kind, value = (entry, None) if isinstance(entry, str) else (None, None)
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((kind, value),) = entry.items()
    if str(kind) in ALIASES and not value:
        return ALIASES[str(kind)]
    make = KINDS.get(str(kind))
    if make is None:
        known, actual = [*KINDS, *ALIASES], f"{_brief(entry)}{nearest(str(kind), [*KINDS, *ALIASES])}"
        raise UserError(f"layer {number}: expected one of {', '.join(known)}, got {actual}")
    arguments: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
    try:
        if value is None or isinstance(value, Mapping):
            return make(**arguments)
        return make(value)
    except UserError as error:
        raise UserError(f"layer {number}, {kind}: {error}") from None
    except TypeError:
        known = [field.name for field in fields(make)]
        unknown = next((name for name in arguments if name not in known), None)
        actual = f"{unknown}{nearest(unknown, known)}" if unknown is not None else _brief(value)
        raise UserError(
            f"layer {number}, {kind}: expected its {', '.join(known) or 'name only'}, got {actual}"
        ) from None


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


def _brief(value: Any) -> str:
    """Shortens a value for a message."""
    return textwrap.shorten(reprlib.repr(value), 100)


def _input_shape(value: Any) -> tuple[int, ...]:
    sizes = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else []
    if len(sizes) not in (1, 3) or not all(type(size) is int and size > 0 for size in sizes):
        raise UserError(f"Input: expected height, width and channels, got {_brief(value)}")
    return tuple(sizes)
