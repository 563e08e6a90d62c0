"""Reads and writes ``.ckpt``, ``.pt``, ``.pth`` and ``.safetensors``, safely."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from cnn_mnist.architecture.description_files import ARCHITECTURE
from cnn_mnist.architecture.layouts import from_pytorch, to_pytorch
from cnn_mnist.architecture.network import Network
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.checkpoints import read_checkpoint
from cnn_mnist.pytorch.keras_layers import MaskedDropout
from cnn_mnist.pytorch.keras_optimizers import KerasOptimizer
from cnn_mnist.pytorch.network import build_network, load_weights
from cnn_mnist.pytorch.optimizers import make_optimizer
from cnn_mnist.pytorch.own_module import logits_of
from cnn_mnist.settings import ModelSettings
from keras_parity.convert.portable import Arrays, Logits, Portable, choose_network

PREFIX = "network."  # of the network inside the LightningModule


def read_ckpt(path: Path, network: Network | None = None) -> tuple[Portable, Logits]:
    """Reads a Lightning checkpoint of this project, with its optimizer if that uses Keras's formula.

    See ``portable.Read``.
    """
    checkpoint = read_checkpoint(path)
    settings = ModelSettings(**checkpoint["hyper_parameters"])
    network = choose_network(path, settings.network, network)
    state = {name.removeprefix(PREFIX): array for name, array in arrays_of(checkpoint["state_dict"]).items()}
    module = build(settings, from_pytorch(state, network))
    optimizer = make_optimizer(module.parameters(), settings)
    slots = None
    try:
        iterations, states = int(checkpoint.get("global_step", 0)), checkpoint.get("optimizer_states")
        if isinstance(optimizer, KerasOptimizer) and states:
            kept = states[0]["state"]
            names = [name for name, _ in module.named_parameters()]
            wanted = optimizer.slot_names(optimizer.param_groups[0])
            if all(set(wanted) <= kept.get(index, {}).keys() for index in range(len(names))):
                slots = {
                    slot: from_pytorch(arrays_of({name: kept[i][slot] for i, name in enumerate(names)}), network)
                    for slot in wanted
                }
    except Exception:  # the optimizer's state may be anything
        raise UserError(f"expected a checkpoint of cnn_mnist, got {path}, whose optimizer state is damaged") from None
    return Portable(from_pytorch(state, network), settings, slots, iterations), partial(logits_of, module)


def write_ckpt(portable: Portable, path: Path) -> None:
    """Writes a Lightning checkpoint that ``python -m cnn_mnist fit --ckpt_path`` can continue from."""
    network, optimizer = make_torch_optimizer(portable)
    checkpoint = {
        "epoch": 0,  # ``fit`` computes it from the updates
        "global_step": portable.iterations,
        "pytorch-lightning_version": version("lightning"),
        "state_dict": {PREFIX + name: tensor for name, tensor in network.state_dict().items()},
        "hyper_parameters": asdict(portable.settings),
        "optimizer_states": [] if portable.slots is None else [optimizer.state_dict()],
        "lr_schedulers": [],
    }
    torch.save(checkpoint, path)


def write_state_dict(portable: Portable, path: Path) -> None:
    """Writes a state dict as ``.pt`` or, with the network's description, as ``.safetensors``."""
    state = {name: torch.from_numpy(array) for name, array in to_pytorch(portable.weights, portable.network).items()}
    if path.suffix == ".safetensors":
        path.write_bytes(save(state, {ARCHITECTURE: json.dumps(portable.settings.architecture)}))
    else:
        torch.save(state, path)


def make_torch_optimizer(portable: Portable) -> tuple[nn.Sequential, torch.optim.Optimizer]:
    """Builds the network with its weights, and its optimizer with its slots, in the dtype of the weights."""
    module = build(portable.settings, portable.weights)
    for dropout in module.modules():
        if isinstance(dropout, MaskedDropout):
            dropout.count.fill_(portable.iterations)
    optimizer = make_optimizer(module.parameters(), portable.settings)
    for slot, arrays in (portable.slots or {}).items():
        state = to_pytorch(arrays, portable.network)
        for name, parameter in module.named_parameters():
            optimizer.state[parameter][slot] = torch.empty_like(parameter).copy_(torch.from_numpy(state[name]))
    optimizer.param_groups[0]["step"] = portable.iterations
    return module, optimizer


def build(settings: ModelSettings, weights: Arrays) -> nn.Sequential:
    """Builds the module of a network with neutral weights, in their dtype."""
    module = build_network(settings.network, settings.align, settings.seed)
    module.to(torch.from_numpy(next(iter(weights.values()))).dtype).eval()
    load_weights(module, weights, settings.network)
    return module


def arrays_of(state: Mapping[str, Tensor]) -> Arrays:
    """Returns a state dict as arrays; 16-bit tensors are widened to float32."""
    wide = {name: t.float() if t.is_floating_point() and t.element_size() < 4 else t for name, t in state.items()}
    return {name: tensor.detach().resolve_neg().numpy() for name, tensor in wide.items()}
