"""Reads a checkpoint of this project, safely, and refuses what is none."""

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from cnn_mnist.architecture.descriptions import read_network, title
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.network import build_network
from cnn_mnist.runs.files import zip_is_intact
from cnn_mnist.runs.folder import ENDINGS, KERAS


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Loads a Lightning checkpoint on the CPU, without running code from it.

    Args:
        path: The file.

    Returns:
        Lightning's dict, with ``state_dict`` and ``hyper_parameters`` that belong together.

    Raises:
        UserError: There is no such file, it is truncated, or it is no checkpoint of this project.
    """
    expected = f"expected a checkpoint of cnn_mnist, got {path}"
    if not Path(path).is_file():
        raise UserError(f"{expected}, which is no file; give the .ckpt file in the checkpoints folder of a run")
    if Path(path).suffix == ENDINGS[KERAS]:
        raise UserError(f"{expected}, which is Keras's; python -m keras_parity predict takes it")
    if not zip_is_intact(path):
        raise UserError(f"{expected}, which is truncated or no checkpoint at all, or damaged; take another file")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError, KeyError, OSError) as error:
        raise UserError(f"{expected}, which cannot be loaded safely ({why(error)}); take another file") from None
    parts = (
        [checkpoint.get(name) for name in ("state_dict", "hyper_parameters")] if isinstance(checkpoint, dict) else []
    )
    if not parts or not all(isinstance(part, dict) for part in parts):
        raise UserError(f"{expected}, which has no state_dict and hyper_parameters; take another file")
    _check_weights(checkpoint, expected)
    return checkpoint


def why(error: Exception) -> str:
    """Why a file cannot be loaded, in a line, without PyTorch's advice to load it unsafely."""
    if isinstance(error, UnpicklingError):
        return "it is damaged, or holds more than tensors, numbers and text"
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _check_weights(checkpoint: dict[str, Any], expected: str) -> None:
    """Raises ``UserError`` unless the weights are those of the architecture that the checkpoint names."""
    settings = checkpoint["hyper_parameters"]
    architecture = settings.get("architecture")
    if not isinstance(architecture, str | list):
        raise UserError(f"{expected}, whose hyper_parameters name no architecture; take another file")
    described = read_network(architecture)
    held = sum(tensor.numel() for tensor in checkpoint["state_dict"].values() if hasattr(tensor, "numel"))
    if described.parameters > held:  # before memory is taken for them
        raise UserError(
            f"{expected}, with {held:,} numbers for a network of {described.parameters:,}; take another file"
        )
    network = build_network(described, settings.get("align", "keras"))
    wanted = {(f"network.{k}", v.shape) for k, v in network.state_dict().items()}
    came = {(name, getattr(tensor, "shape", None)) for name, tensor in checkpoint["state_dict"].items()}
    if came != wanted:
        odd = min(name for name, _ in came ^ wanted)
        raise UserError(
            f"{expected}, whose weights are not those of {title(architecture)} (see {odd}); take another file"
        )
