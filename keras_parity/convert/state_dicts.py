"""Reads the weights of other people's PyTorch code: state dicts and stock Lightning checkpoints."""

import re
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from cnn_mnist.architecture.description_files import ARCHITECTURE
from cnn_mnist.architecture.descriptions import plain, read_network
from cnn_mnist.architecture.layouts import from_pytorch
from cnn_mnist.architecture.network import Network
from cnn_mnist.pytorch.network import build_network
from cnn_mnist.pytorch.own_module import build_module, logits_of, names_in_call_order
from cnn_mnist.pytorch.state_dicts import load_file, read_state
from cnn_mnist.settings import ModelSettings
from keras_parity.convert.portable import Logits, Portable, choose_network, match_arrays
from keras_parity.convert.pytorch_files import PREFIX, arrays_of, build, read_ckpt

_PREFIXES = ("module.", "_orig_mod.", "model.", PREFIX)
"""Prefixes that DataParallel, torch.compile and LightningModules add."""
_COUNTERS = ("num_batches_tracked", "count")
"""Counters in a state dict; inference does not use them."""
_ASIDE = re.compile(r"(^|_)(criterion|loss|losses|metrics?|acc|accuracy)(_|$)")
"""Members of a module whose arrays are no part of its network, such as the weights of the classes in a loss."""


def read_lightning(path: Path, network: Network | None = None) -> tuple[Portable, Logits]:
    """Reads a Lightning checkpoint: this project's with its settings, another one as weights; see ``portable.Read``."""
    found = load_file(path)
    settings = found.get("hyper_parameters") if isinstance(found, dict) else None
    own = isinstance(settings, dict) and {"architecture", "align"} <= settings.keys()
    return (read_ckpt if own else read_state_dict)(path, network)


def read_state_dict(path: Path, network: Network | None = None, source: str | None = None) -> tuple[Portable, Logits]:
    """Reads a state dict, alone or inside a dict.

    Args:
        path: The file.
        network: The network; needed unless the file describes it, or the module is an ``nn.Sequential``.
        source: The user's own module, as ``FILE.py:CLASS``, which runs instead of the network that is described.

    Returns:
        The network, and what it computes.

    Raises:
        UserError: The file cannot be loaded safely, the network is unknown, or the weights do not fit it.
    """
    described = read_network(str(path)) if path.suffix == ".safetensors" and _describes(path) else None
    state, module = read_state(path), None
    if source is None:
        network = choose_network(path, described, network)
    else:
        module, names = build_module(source, state)
        if described is None and network is None and isinstance(module, nn.Sequential):
            described = read_network(module)
        network = choose_network(path, described, network)
        height, width, channels = network.input_shape
        called = names_in_call_order(module, torch.zeros(1, channels, height, width))
        state = {names[name]: state[names[name]] for name in called}
    state = {name: tensor for name, tensor in state.items() if name.rpartition(".")[2] not in _COUNTERS}
    shapes = {name: tuple(tensor.shape) for name, tensor in build_network(network).state_dict().items()}
    wanted = {name: shape for name, shape in shapes.items() if name.rpartition(".")[2] not in _COUNTERS}
    aside = [name for name in state if _ASIDE.search(name.split(".")[0])] if len(state) > len(wanted) else []
    kept = _without_prefixes({name: tensor for name, tensor in state.items() if name not in aside})
    arrays, matched, doubt = match_arrays(path, arrays_of(kept), wanted)
    weights, settings = from_pytorch(arrays, network), ModelSettings(architecture=plain(network))
    notes = (matched, f"left out: {', '.join(aside)}" if aside else "")
    portable = Portable(weights, settings, notes=notes, doubt="" if module else doubt)
    return portable, partial(logits_of, module or build(settings, weights))


def _describes(path: Path) -> bool:
    try:
        with safe_open(path, "pt") as file:
            return ARCHITECTURE in (file.metadata() or {})
    except (OSError, SafetensorError):  # which loading it reports
        return False


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    while prefix := next((p for p in _PREFIXES if state and all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state
