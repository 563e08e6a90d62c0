"""Reads and validates a checkpoint of this project, without running its code."""

import warnings
from pathlib import Path
from pickle import UnpicklingError
from typing import Any
from zipfile import ZipFile, is_zipfile

import torch
from torch import Tensor

from cnn_mnist.architecture.descriptions import title
from cnn_mnist.errors import UserError, UserNotice, as_user_error
from cnn_mnist.pytorch.network import build_network
from cnn_mnist.runs.files import zip_is_intact
from cnn_mnist.runs.folder import ENDINGS, KERAS
from cnn_mnist.settings import ModelSettings, check_names
from cnn_mnist.untrusted import fits, pickle_is_small


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Loads a Lightning checkpoint on the CPU without running code from it.

    Args:
        path: The file.

    Returns:
        Lightning's dict with matching ``state_dict`` and ``hyper_parameters``.

    Raises:
        UserError: The file is missing, damaged or not a checkpoint of this project.
    """
    expected = f"expected a checkpoint of cnn_mnist, got {path}"
    if not Path(path).is_file():
        raise UserError(f"{expected}, which is not a file; name the .ckpt file in the checkpoints folder of a run")
    if Path(path).suffix == ENDINGS[KERAS]:
        raise UserError(f"{expected}, a Keras file; use python -m keras_parity predict")
    if not is_zipfile(path):
        raise UserError(f"{expected}, which is truncated or no checkpoint, or damaged; use another file")
    checkpoint = load_safely(Path(path), expected)
    held = checkpoint if isinstance(checkpoint, dict) else {}
    if not all(isinstance(held.get(name), dict) for name in ("state_dict", "hyper_parameters")):
        ways = "predict with --source=FILE.py:CLASS, or python -m keras_parity convert, takes its weights"
        raise UserError(f"{expected}, without state_dict and hyper_parameters; {ways}")
    _check_weights(checkpoint, expected)
    return checkpoint


def expect_more_epochs(path: Any, epochs: int, asked: int | None) -> None:
    """Raises ``UserError`` if a training that continues a checkpoint asks for no more epochs than it has."""
    if asked is not None and 0 <= asked <= epochs:
        raise UserError(f"--ckpt_path: {path} has {epochs} epochs already; set --trainer.max_epochs above that")


def load_safely(path: Path, expected: str) -> Any:
    """Loads a file of PyTorch without running its code or allocating more than its size explains.

    Args:
        path: The file.
        expected: Beginning of the error message.

    Returns:
        Its content, on the CPU.

    Raises:
        UserError: The file is damaged, hostile or none of PyTorch's.
    """
    with as_user_error(f"{expected}, which cannot be loaded safely", "; use another file", reason_of):
        if is_zipfile(path):
            if not zip_is_intact(path):
                raise UserError(f"{expected}, which is truncated or no checkpoint, or damaged; use another file")
            with ZipFile(path) as archive:
                pickles = [archive.read(name) for name in archive.namelist() if name.endswith(".pkl")]
            if not all(map(pickle_is_small, pickles)):
                raise UnpicklingError
        elif not _legacy_is_small(path):
            raise UnpicklingError
        with warnings.catch_warnings(action="ignore"):  # about other protocols of pickle
            content = torch.load(path, map_location="cpu", weights_only=True)
    tensors = _tensors_in(content)
    if any(t.layout is not torch.strided or t.is_quantized or t.is_meta or t.is_complex() for t in tensors):
        raise UserError(f"{expected}, which contains sparse, quantized, complex or meta tensors; save ordinary ones")
    if not fits(sum(tensor.numel() * tensor.element_size() for tensor in tensors), path):  # as if none were repeated
        raise UserError(f"{expected}, which declares larger tensors than it holds; use another file")
    return content


def _legacy_is_small(path: Path) -> bool:
    """Returns whether the pickles of a file that PyTorch wrote before 1.6 are small; its tensors follow them."""
    with path.open("rb") as file:
        return all(pickle_is_small(file) for _ in range(5))  # magic number, version, system, content, names of storages


def _tensors_in(content: Any) -> list[Tensor]:
    """Finds the tensors inside loaded dicts and lists, which may be shared, deeply nested or contain themselves."""
    seen, rest, tensors = set[int](), [content], list[Tensor]()
    while rest:
        part = rest.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Tensor):
            tensors.append(part)
        rest += part.values() if isinstance(part, dict) else part if isinstance(part, list | tuple | set) else ()
    return tensors


def reason_of(error: object) -> str:
    """Returns in one line why a file cannot be loaded, without PyTorch's advice to load it unsafely."""
    if isinstance(error, UnpicklingError):
        return "it is damaged, or contains more than tensors, numbers and text"
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _check_weights(checkpoint: dict[str, Any], expected: str) -> None:
    """Raises ``UserError`` unless the weights match the architecture that the checkpoint names."""
    settings = checkpoint["hyper_parameters"]
    architecture = settings.get("architecture")
    if not isinstance(architecture, str | list):
        raise UserError(f"{expected}, without an architecture in hyper_parameters; use another file")
    try:
        check_names(ModelSettings, settings)
        with warnings.catch_warnings(action="ignore", category=UserNotice):
            described = ModelSettings(**settings).network
    except UserError as error:
        raise UserError(f"{expected}, whose hyper_parameters are wrong ({error}); use another file") from None
    stored = sum(tensor.numel() for tensor in checkpoint["state_dict"].values() if hasattr(tensor, "numel"))
    if described.parameters > stored:  # checked before memory is allocated
        numbers = f"{stored:,} numbers for a network of {described.parameters:,}"
        raise UserError(f"{expected}, with {numbers}; use another file")
    network = build_network(described, settings.get("align", "keras"))
    wanted = {(f"network.{k}", v.shape) for k, v in network.state_dict().items()}
    found = {(name, getattr(tensor, "shape", None)) for name, tensor in checkpoint["state_dict"].items()}
    if found != wanted:
        first = min(name for name, _ in found ^ wanted)
        raise UserError(f"{expected}, whose weights do not fit {title(architecture)} (see {first}); use another file")
