"""Reads descriptions of networks from all sources, and writes them as records or the name of a packaged network."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_mnist.architecture import description_files, from_model, original
from cnn_mnist.architecture.examples import EXAMPLES
from cnn_mnist.architecture.from_keras import from_keras
from cnn_mnist.architecture.network import Network
from cnn_mnist.architecture.records import brief, from_records, to_records
from cnn_mnist.errors import UserError, expect, nearest, told_of

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
        description: The name of a packaged network; a list of records (see ``records``); Keras's own configuration of a
            model; or a file that holds one of these: ``.yaml``, ``.json``, ``.keras``, or a ``.ckpt`` or
            ``.safetensors`` of this project. No code of a file runs. In Python also a Keras model, or a torch
            ``nn.Sequential``, whose images are assumed square; the model is run, and must match its description.

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
            known = f"one of {', '.join(EXAMPLES)}, or a file that ends in one of {', '.join(FILES)}"
            raise UserError(f"unknown architecture {description!r}: expected {known}{nearest(description, EXAMPLES)}")
        expect("architecture", path.is_file(), "a file", f"{description}, which does not exist")
        with told_of(f"{description}: "):
            return read_network(FILES[path.suffix](path))
    if hasattr(description, "to_json"):
        return original.check_rebuilt(description, read_network(json.loads(description.to_json())))
    if hasattr(description, "named_children"):
        return original.check_rebuilt(description, from_model.describe(description))
    left_out: dict[str, Any] = {}
    if isinstance(description, Mapping):
        description, left_out = from_keras(description)
    expect("architecture", isinstance(description, Sequence), "a name or a list of layers", brief(description))
    return from_records(description, left_out)


def plain(network: Network) -> Description:
    """Returns the name of a packaged network, otherwise its shortest records; the inverse of ``read_network``."""
    return next((name for name, known in EXAMPLES.items() if network == known), None) or to_records(network)


def title(description: Any) -> str:
    """Returns the name of a packaged network, otherwise its number of parameters."""
    return description if isinstance(description, str) else f"{read_network(description).parameters:,} parameters"
