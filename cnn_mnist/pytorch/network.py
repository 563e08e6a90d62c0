"""The PyTorch network of a description."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cnn_mnist.architecture.in_pytorch import pytorch_modules
from cnn_mnist.architecture.layouts import to_pytorch
from cnn_mnist.architecture.module_spec import ModuleSpec, number_of
from cnn_mnist.architecture.network import Network
from cnn_mnist.pytorch.keras_layers import GELU, MaskedDropout, with_biased_variance


def build_network(network: Network, align: Literal["keras", "native"] = "keras", seed: int = 0) -> nn.Sequential:
    """Builds the network, its modules named as ``Network.modules`` names them.

    Args:
        network: What is built.
        align: "keras" for batch norms and dropouts that do in training what Keras's twin does; "native" for PyTorch's.
        seed: Of the masks of the dropouts.

    Returns:
        A module from images [batch, channels, height, width] to logits [batch, classes], weights as PyTorch makes them,
        in channels_last, which nearly halves the convolutions on a CPU.
    """
    flattened = {traced.name: traced.flattened for traced in network.placed}
    built = OrderedDict()
    for call in pytorch_modules(network):
        module = _make(call)
        if align == "keras" and isinstance(module, nn.Dropout):
            module = MaskedDropout(module.p, seed, number_of(call.name), flattened[call.name])
        elif align == "keras" and isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            module = with_biased_variance(module)
        elif align == "keras" and isinstance(module, nn.GELU):
            module = GELU(module.approximate)
        elif align == "keras" and isinstance(module, nn.LeakyReLU):
            module.negative_slope = float(np.float32(module.negative_slope))  # as TensorFlow takes it, in float64 too
        built[call.name] = module
    return nn.Sequential(built).to(memory_format=torch.channels_last)


def load_weights(module: nn.Module, weights: Mapping[str, NDArray], network: Network) -> None:
    """Copies neutral weights (see ``initial_weights``) into the module of a network, in place."""
    state = {name: torch.from_numpy(array) for name, array in to_pytorch(weights, network).items()}
    module.load_state_dict(module.state_dict() | state)


def _make(call: ModuleSpec) -> nn.Module:
    if call.parts:
        return nn.Sequential(OrderedDict((part.name, _make(part)) for part in call.parts))
    if call.kind == "LayerNorm2d":
        from torchvision.models.convnext import LayerNorm2d

        return LayerNorm2d(**call.arguments)
    return getattr(nn, call.kind)(**call.arguments)
