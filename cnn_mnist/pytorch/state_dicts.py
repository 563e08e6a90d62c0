"""Reads state dicts of any PyTorch code, without running it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
from safetensors import safe_open
from torch import Tensor

from cnn_mnist.architecture.description_files import Inert
from cnn_mnist.errors import UserError
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
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        others = torch.serialization.get_unsafe_globals_in_checkpoint(path) if is_zipfile(path) else []
        with torch.serialization.safe_globals([(Inert, name) for name in others]):
            return load_safely(path, f"expected a PyTorch state dict, got {path}")
    except UserError:
        raise
    except Exception as error:  # each kind of damage raises another
        raise _unsafe(path, reason_of(error)) from None


def _unsafe(path: Path, reason: str) -> UserError:
    return UserError(f"expected a PyTorch state dict, got {path}, which cannot be loaded safely ({reason})")


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
        raise _unsafe(path, "no tensors by name")
    return {str(name): tensor.detach() for name, tensor in found.items()}
