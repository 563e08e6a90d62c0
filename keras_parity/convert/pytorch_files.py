"""Reads and writes ``.ckpt``, ``.pt`` and ``.safetensors``, safely."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cnn_mnist.architecture.layers import Layer
from cnn_mnist.architecture.layouts import from_pytorch, to_pytorch
from cnn_mnist.data.splits import EVALUATION_BATCH_SIZE
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.checkpoints import read_checkpoint
from cnn_mnist.pytorch.keras_optimizers import KerasOptimizer
from cnn_mnist.pytorch.network import build_network
from cnn_mnist.pytorch.optimizers import make_optimizer
from cnn_mnist.settings import ModelSettings
from keras_parity.convert.portable import Arrays, Logits, Portable, choose_layers
from keras_parity.twin.network import name_of

_PREFIX = "network."  # of the network inside the LightningModule
_ARCHITECTURE = "architecture"  # in the metadata of a .safetensors file


def read_ckpt(path: Path, layers: Sequence[Layer] | None = None) -> tuple[Portable, Logits]:
    """Reads a Lightning checkpoint of this project, with its optimizer where its formula is Keras's."""
    checkpoint = read_checkpoint(path)
    settings = ModelSettings(**checkpoint["hyper_parameters"])
    layers = choose_layers(path, settings.architecture, layers)
    state = _arrays(checkpoint["state_dict"])
    network = _build(layers, state)
    optimizer = make_optimizer(network.parameters(), settings)
    slots, iterations = None, int(checkpoint.get("global_step", 0))
    if isinstance(optimizer, KerasOptimizer) and checkpoint.get("optimizer_states"):
        kept = checkpoint["optimizer_states"][0]
        # Lightning counts from 0 again where a converted checkpoint was gone on from.
        iterations = kept["param_groups"][0].get("step", iterations)
        names = [name for name, _ in network.named_parameters()]
        wanted = optimizer.slot_names(optimizer.param_groups[0])
        if all(set(wanted) <= kept["state"].get(index, {}).keys() for index in range(len(names))):
            slots = {
                slot: from_pytorch(_arrays({name: kept["state"][i][slot] for i, name in enumerate(names)}), layers)
                for slot in wanted
            }
    return Portable(layers, from_pytorch(state, layers), settings, slots, iterations), partial(_logits, network)


def read_state_dict(path: Path, layers: Sequence[Layer] | None = None) -> tuple[Portable, Logits]:
    """Reads a state dict; ``layers`` where the file names no architecture."""
    expected = f"expected a PyTorch state dict, got {path}"
    told = None
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                told = (file.metadata() or {}).get(_ARCHITECTURE)
                state = _arrays({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118 - no mapping
        else:
            state = _arrays(torch.load(path, map_location="cpu", weights_only=True))
    except (
        OSError, RuntimeError, UnpicklingError, EOFError, KeyError, AttributeError, TypeError, ValueError,
        SafetensorError,
    ) as error:  # fmt: skip
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{expected}, which cannot be loaded safely ({reason})") from None
    layers = choose_layers(path, told, layers)
    name = name_of(layers)
    wanted = {key: tuple(tensor.shape) for key, tensor in build_network(layers).state_dict().items()}
    if wanted != {key: array.shape for key, array in state.items()}:
        raise UserError(f"{expected}, whose weights are not those of {name or 'the layers'}")
    settings = ModelSettings(architecture=name) if name else ModelSettings()
    return Portable(layers, from_pytorch(state, layers), settings), partial(_logits, _build(layers, state))


def write_ckpt(portable: Portable, path: Path) -> None:
    """Writes a Lightning checkpoint that ``python -m cnn_mnist fit --ckpt_path`` goes on from.

    Raises:
        UserError: The architecture has no name, so that Lightning could not build it.
    """
    if name_of(portable.layers) is None:
        raise UserError(f"expected a named architecture for {path.name}, got other layers; write a .pt file")
    network, optimizer = make_torch_optimizer(portable)
    checkpoint = {
        "epoch": 0,
        "global_step": portable.iterations,
        "pytorch-lightning_version": version("lightning"),
        "state_dict": {_PREFIX + name: tensor for name, tensor in network.state_dict().items()},
        "hyper_parameters": asdict(portable.settings),
        "optimizer_states": [] if portable.slots is None else [optimizer.state_dict()],
        "lr_schedulers": [],
    }
    torch.save(checkpoint, path)


def write_state_dict(portable: Portable, path: Path) -> None:
    """Writes a state dict as ``.pt`` or, with the architecture's name, as ``.safetensors``."""
    state = _tensors(to_pytorch(portable.weights, portable.layers))
    if path.suffix == ".safetensors":
        name = name_of(portable.layers)
        path.write_bytes(save(state, {_ARCHITECTURE: name} if name else None))
    else:
        torch.save(state, path)


def make_torch_optimizer(portable: Portable) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    """The network with its weights, and its optimizer with its slots, in the dtype of the weights."""
    network = _build(portable.layers, to_pytorch(portable.weights, portable.layers))
    optimizer = make_optimizer(network.parameters(), portable.settings)
    for slot, arrays in (portable.slots or {}).items():
        tensors = _tensors(to_pytorch(arrays, portable.layers))
        for name, parameter in network.named_parameters():
            optimizer.state[parameter][slot] = torch.empty_like(parameter).copy_(tensors[name])
    optimizer.param_groups[0]["step"] = portable.iterations
    return network, optimizer


def _build(layers: Sequence[Layer], state: Mapping[str, NDArray]) -> nn.Sequential:
    """The network with the weights of a state dict, in their dtype."""
    tensors = _tensors(state)
    network = build_network(layers).to(next(iter(tensors.values())).dtype)
    network.load_state_dict(tensors)
    return network


def _tensors(arrays: Mapping[str, NDArray]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _arrays(state: Mapping[str, Tensor]) -> Arrays:
    """A state dict as arrays, 16 bits widened to float32."""
    wide = {name: tensor.float() if tensor.element_size() < 4 else tensor for name, tensor in state.items()}
    return {name.removeprefix(_PREFIX): tensor.numpy() for name, tensor in wide.items()}


def _logits(network: nn.Module, images: NDArray[np.float32]) -> NDArray:
    with torch.inference_mode():
        tensor = torch.from_numpy(images).unsqueeze(1).to(next(network.parameters()).dtype)
        return torch.cat([network(batch) for batch in tensor.split(EVALUATION_BATCH_SIZE)]).numpy()
