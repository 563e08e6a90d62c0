"""Reads and writes ``.ckpt``, ``.pt``, ``.pth`` and ``.safetensors``, safely."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from cnn_mnist.architecture.description_files import ARCHITECTURE
from cnn_mnist.architecture.descriptions import plain, read_network
from cnn_mnist.architecture.layouts import from_pytorch, to_pytorch
from cnn_mnist.architecture.network import Network
from cnn_mnist.data.splits import evaluation_batch_size
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.checkpoints import load_safely, read_checkpoint, reason_of
from cnn_mnist.pytorch.keras_layers import MaskedDropout
from cnn_mnist.pytorch.keras_optimizers import KerasOptimizer
from cnn_mnist.pytorch.network import build_network, load_weights
from cnn_mnist.pytorch.optimizers import make_optimizer
from cnn_mnist.settings import ModelSettings
from keras_parity.convert.portable import Arrays, Logits, Portable, choose_network, match_arrays

_PREFIX = "network."  # of the network inside the LightningModule
_INSIDE = ("state_dict", "model_state_dict", "model")
"""Keys under which people save a state dict."""
_PREFIXES = ("module.", "_orig_mod.", "model.", _PREFIX)
"""Prefixes that DataParallel, torch.compile and LightningModules add."""
_COUNTERS = ("num_batches_tracked", "count")
"""Counters in a state dict; inference does not use them."""


def read_ckpt(path: Path, network: Network | None = None) -> tuple[Portable, Logits]:
    """Reads a Lightning checkpoint of this project, with its optimizer if that uses Keras's formula.

    Args:
        path: The file.
        network: The network that the user names; None to use the description in the file.

    Returns:
        The network, and what it computes.

    Raises:
        UserError: The file cannot be loaded safely, or holds another network.
    """
    checkpoint = read_checkpoint(path)
    settings = ModelSettings(**checkpoint["hyper_parameters"])
    network = choose_network(path, settings.network, network)
    state = {name.removeprefix(_PREFIX): array for name, array in _arrays(checkpoint["state_dict"]).items()}
    module = _build(settings, from_pytorch(state, network))
    optimizer = make_optimizer(module.parameters(), settings)
    slots, iterations = None, int(checkpoint.get("global_step", 0))
    if isinstance(optimizer, KerasOptimizer) and checkpoint.get("optimizer_states"):
        kept = checkpoint["optimizer_states"][0]
        names = [name for name, _ in module.named_parameters()]
        wanted = optimizer.slot_names(optimizer.param_groups[0])
        if all(set(wanted) <= kept["state"].get(index, {}).keys() for index in range(len(names))):
            slots = {
                slot: from_pytorch(_arrays({name: kept["state"][i][slot] for i, name in enumerate(names)}), network)
                for slot in wanted
            }
    return Portable(from_pytorch(state, network), settings, slots, iterations), partial(_logits, module)


def read_state_dict(path: Path, network: Network | None = None) -> tuple[Portable, Logits]:
    """Reads a state dict, alone or inside a dict.

    Args:
        path: The file.
        network: The network; needed unless the file describes it.

    Returns:
        The network, and what it computes.

    Raises:
        UserError: The file cannot be loaded safely, the network is unknown, or the weights do not fit it.
    """
    expected = f"expected a PyTorch state dict, got {path}"
    described = None
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                if ARCHITECTURE in (file.metadata() or {}):
                    described = read_network(str(path))
                found: Any = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        else:
            found = load_safely(path, expected)
        state = _arrays(_bare(found))
    except UserError:
        raise
    except (
        OSError, RuntimeError, UnpicklingError, EOFError, KeyError, AttributeError, TypeError, ValueError,
        SafetensorError,
    ) as error:  # fmt: skip
        raise UserError(f"{expected}, which cannot be loaded safely ({reason_of(error)})") from None
    network = choose_network(path, described, network)
    shapes = {name: tuple(tensor.shape) for name, tensor in build_network(network).state_dict().items()}
    wanted = {name: shape for name, shape in shapes.items() if name.rpartition(".")[2] not in _COUNTERS}
    state, matched = match_arrays(path, state, wanted)
    settings = ModelSettings(architecture=plain(network))
    weights = from_pytorch(state, network)
    return Portable(weights, settings, matched=matched), partial(_logits, _build(settings, weights))


def write_ckpt(portable: Portable, path: Path) -> None:
    """Writes a Lightning checkpoint that ``python -m cnn_mnist fit --ckpt_path`` can continue from."""
    network, optimizer = make_torch_optimizer(portable)
    checkpoint = {
        "epoch": 0,  # ``fit`` computes it from the updates
        "global_step": portable.iterations,
        "pytorch-lightning_version": version("lightning"),
        "state_dict": {_PREFIX + name: tensor for name, tensor in network.state_dict().items()},
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
    module = _build(portable.settings, portable.weights)
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


def _bare(found: Any) -> dict[str, Tensor]:
    """The state dict inside a loaded object, without counters and without prefixes that all names share."""
    for key in _INSIDE:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    state = {str(name): tensor.detach() for name, tensor in found.items()}
    while prefix := next((p for p in _PREFIXES if state and all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in state.items() if name.rpartition(".")[2] not in _COUNTERS}


def _build(settings: ModelSettings, weights: Arrays) -> nn.Sequential:
    """Builds the module of a network with neutral weights, in their dtype."""
    module = build_network(settings.network, settings.align, settings.seed)
    module.to(torch.from_numpy(next(iter(weights.values()))).dtype).eval()
    load_weights(module, weights, settings.network)
    return module


def _arrays(state: Mapping[str, Tensor]) -> Arrays:
    """A state dict as arrays; 16-bit tensors are widened to float32."""
    wide = {name: t.float() if t.is_floating_point() and t.element_size() < 4 else t for name, t in state.items()}
    return {name: tensor.numpy() for name, tensor in wide.items()}


def _logits(module: nn.Sequential, images: NDArray[np.floating]) -> NDArray:
    double = module.double()
    tensor = torch.from_numpy(np.array(np.moveaxis(images, -1, 1), order="C")).double()
    with torch.inference_mode():
        return torch.cat([double(batch) for batch in tensor.split(evaluation_batch_size(images.shape[1:]))]).numpy()
