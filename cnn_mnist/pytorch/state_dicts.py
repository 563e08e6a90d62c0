"""Reads state dicts of any PyTorch code, without running it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import safe_open
from torch import Tensor

from cnn_mnist.architecture.description_files import Inert
from cnn_mnist.errors import UserError, as_user_error
from cnn_mnist.pytorch.checkpoints import load_safely, reason_of

_INSIDE = ("state_dict", "model_state_dict", "model")
"""Keys under which people save a state dict."""


def load_file(path: Path) -> Any:
    """Loads a file without running its code; an object that is neither tensor nor plain data becomes an empty dict.

    Args:
        path: A ``.safetensors`` file, or one of ``torch.save``.

    Raises:
        UserError: The file is damaged, hostile or of another format.
    """
    expected = f"expected a PyTorch state dict, got {path}"
    with as_user_error(f"{expected}, which cannot be loaded safely", reason=reason_of):
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        others = torch.serialization.get_unsafe_globals_in_checkpoint(path) if is_zipfile(path) else []
        with torch.serialization.safe_globals([(Inert, name) for name in others]):
            return load_safely(path, expected)


def read_state(path: Path) -> dict[str, Tensor]:
    """Reads a state dict, alone or inside a dict, with its own names.

    Raises:
        UserError: As in ``load_file``, or the file has no tensors by name.
    """
    found = load_file(path)
    for key in _INSIDE:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not found or not all(isinstance(value, Tensor) for value in found.values()):
        reason = "which cannot be loaded safely (no tensors by name)"
        raise UserError(f"expected a PyTorch state dict, got {path}, {reason}")
    return {str(name): tensor.detach() for name, tensor in found.items()}
