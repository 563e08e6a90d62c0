"""One model in both frameworks, and what is needed to find out whether it is the same."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

Arrays = dict[str, NDArray]
Batch = tuple[Any, Any]
"""Inputs, one array or a tuple of several, and labels."""


def mean_cross_entropy(labels: Any, logits: Any) -> Any:
    """Keras's cross-entropy from logits, in nats []; a loss object would compute in the dtype it was made in."""
    return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))


@dataclass(frozen=True)
class Port:
    """A torch module and a Keras model that are meant to be the same.

    Attributes:
        network: From images [batch, channels, height, width], or what else it takes, to logits [batch, classes].
        model: The same from images [batch, height, width, channels].
        torch_batches: (inputs as ``network`` takes them, labels) of each step.
        keras_batches: (inputs as ``model`` takes them, labels) of each step.
        test: (images as ``model`` takes them, labels) for the evaluation.
        torch_optimizer: Makes the optimizer of a list of parameters.
        keras_optimizer: Makes Keras's.
        torch_loss: Mean loss [] of output and labels.
        keras_loss: Mean loss [] of labels and output.
        match: Keras's name by PyTorch's of layers that belong together, where ``match_calls`` cannot tell.
        in_place: Whether Keras's model itself is watched, where it cannot be copied; whoever sets it puts it back.
        device: ``"cpu"`` or ``"cuda"``, for both sides.
        torch_test: ``test`` as ``network`` takes it, where it is not ``test`` with its axes in PyTorch's order.
    """

    network: nn.Module
    model: keras.Model
    torch_batches: Sequence[Batch]
    keras_batches: Sequence[Batch]
    test: Batch
    torch_optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    keras_optimizer: Callable[[], keras.Optimizer]
    torch_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = F.cross_entropy
    keras_loss: Callable[[Any, Any], Any] = mean_cross_entropy
    match: Mapping[str, str] = field(default_factory=dict)
    torch_test: Any = None
    device: str = "cpu"
    in_place: bool = False


def as_tuple(inputs: Any) -> tuple[NDArray, ...]:
    """The inputs of a batch, however many."""
    return tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
