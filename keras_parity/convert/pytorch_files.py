"""Reads and writes ``.ckpt``, ``.pt`` and ``.safetensors``, safely."""

from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from numpy.typing import NDArray

from cnn_mnist.architecture.layers import Layer
from cnn_mnist.architecture.layouts import from_pytorch, to_pytorch
from cnn_mnist.architecture.trace import ARCHITECTURES, layers_of
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.checkpoints import read_checkpoint
from cnn_mnist.pytorch.keras_optimizers import KerasOptimizer
from cnn_mnist.pytorch.network import build_network, load_weights
from cnn_mnist.pytorch.optimizers import make_optimizer
from cnn_mnist.settings import ModelSettings
from keras_parity.convert.portable import Portable

_PREFIX = "network."  # of the network inside the LightningModule


def read_ckpt(path: Path) -> Portable:
    """Reads a Lightning checkpoint of this project, with its optimizer where its formula is Keras's."""
    checkpoint = read_checkpoint(path)
    settings = ModelSettings(**checkpoint["hyper_parameters"])
    layers = layers_of(settings.architecture)
    state = {name.removeprefix(_PREFIX): tensor.numpy() for name, tensor in checkpoint["state_dict"].items()}
    network = build_network(layers)
    optimizer = make_optimizer(network.parameters(), settings)
    slots, iterations = None, int(checkpoint.get("global_step", 0))
    if isinstance(optimizer, KerasOptimizer) and checkpoint.get("optimizer_states"):
        kept = checkpoint["optimizer_states"][0]["state"]
        names = [name for name, _ in network.named_parameters()]
        wanted = optimizer.slot_names(optimizer.param_groups[0])
        if all(set(wanted) <= kept.get(index, {}).keys() for index in range(len(names))):
            slots = {
                slot: from_pytorch({name: kept[index][slot].numpy() for index, name in enumerate(names)}, layers)
                for slot in wanted
            }
    return Portable(layers, from_pytorch(state, layers), settings, slots, iterations)


def read_state_dict(path: Path, layers: Sequence[Layer] | None = None) -> Portable:
    """Reads a state dict; the architecture is the named one that fits, or ``layers``."""
    expected = f"expected a PyTorch state dict, got {path}"
    if not path.is_file():
        raise UserError(f"{expected}, which is no file")
    try:
        state: Any = _load_safetensors(path) if path.suffix == ".safetensors" else _load_pt(path)
        arrays = {name.removeprefix(_PREFIX): tensor.numpy() for name, tensor in state.items()}
    except (OSError, RuntimeError, UnpicklingError, EOFError, KeyError, AttributeError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{expected}, which cannot be loaded safely ({reason})") from None
    candidates = {"": layers} if layers is not None else ARCHITECTURES
    for name, records in candidates.items():
        wanted = {key: tuple(tensor.shape) for key, tensor in build_network(records).state_dict().items()}
        if wanted == {key: array.shape for key, array in arrays.items()}:
            settings = ModelSettings(architecture=name) if name else ModelSettings()
            return Portable(records, from_pytorch(arrays, records), settings)
    raise UserError(f"{expected}, whose weights are not those of {', '.join(filter(None, candidates)) or 'the layers'}")


def write_ckpt(portable: Portable, path: Path) -> None:
    """Writes a Lightning checkpoint that ``python -m cnn_mnist fit --ckpt_path`` goes on from.

    Raises:
        UserError: The architecture has no name, so that Lightning could not build it.
    """
    settings = portable.settings
    if ARCHITECTURES.get(settings.architecture) != tuple(portable.layers):
        raise UserError(f"expected a named architecture for {path}, got other layers; write a .pt file")
    checkpoint = {
        "epoch": 0,
        "global_step": portable.iterations,
        "pytorch-lightning_version": version("lightning"),
        "state_dict": {_PREFIX + name: tensor for name, tensor in _state(portable.weights, portable.layers).items()},
        "hyper_parameters": asdict(settings),
        "optimizer_states": [],
        "lr_schedulers": [],
    }
    if portable.slots is not None:
        checkpoint["optimizer_states"] = [make_torch_optimizer(portable)[1].state_dict()]
    torch.save(checkpoint, path)


def write_state_dict(portable: Portable, path: Path) -> None:
    """Writes a state dict as ``.pt`` or ``.safetensors``."""
    state = _state(portable.weights, portable.layers)
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save(state, path)


def make_torch_optimizer(portable: Portable) -> tuple[torch.nn.Sequential, torch.optim.Optimizer]:
    """The network with its weights, and its optimizer with its slots, in the dtype of the weights."""
    network = build_network(portable.layers)
    if next(iter(portable.weights.values())).dtype == "float64":
        network.double()
    load_weights(network, portable.weights, portable.layers)
    optimizer = make_optimizer(network.parameters(), portable.settings)
    for slot, arrays in (portable.slots or {}).items():
        tensors = _state(arrays, portable.layers)
        for name, parameter in network.named_parameters():
            optimizer.state[parameter][slot] = torch.empty_like(parameter).copy_(tensors[name])
    optimizer.param_groups[0]["step"] = portable.iterations
    return network, optimizer


def _state(weights: dict[str, NDArray], layers: Sequence[Layer]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(array) for name, array in to_pytorch(weights, layers).items()}


def _load_pt(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)


def _load_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
