"""One model in both frameworks, with the data and optimizers that the rungs need."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import torch
import torch.nn.functional as F
from torch import nn

Batch = tuple[Any, Any]
"""(inputs, labels); inputs are an array, or a nest of several."""


def mean_cross_entropy(labels: Any, logits: Any) -> Any:
    """Returns Keras's cross-entropy from logits, in nats []; a loss object would fix its dtype at creation."""
    return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))


@dataclass(frozen=True)
class Port:
    """A torch module and a Keras model that should be the same.

    Attributes:
        network: From inputs, such as images [batch, channels, height, width], to logits [batch, classes].
        model: The same from images [batch, height, width, channels].
        torch_batches: (inputs as ``network`` takes them, labels) of each step.
        keras_batches: (inputs as ``model`` takes them, labels) of each step.
        test: (images as ``model`` takes them, labels) for the evaluation.
        torch_optimizer: Makes PyTorch's optimizer from a list of parameters.
        keras_optimizer: Makes Keras's optimizer.
        torch_loss: Mean loss (output, labels) -> [].
        keras_loss: Mean loss (labels, output) -> [].
        match: Keras's layer name by PyTorch's, for layers that ``match_calls`` cannot match.
        in_place: Whether to run the Keras model itself if it cannot be copied; the caller restores it.
        device: ``"cpu"`` or ``"cuda"``, for both sides.
    """

    network: nn.Module
    model: keras.Model
    torch_batches: Sequence[Batch]
    keras_batches: Sequence[Batch]
    test: Batch = (None, None)
    torch_optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] = torch.optim.SGD
    keras_optimizer: Callable[[], keras.Optimizer] = keras.optimizers.SGD
    torch_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = F.cross_entropy
    keras_loss: Callable[[Any, Any], Any] = mean_cross_entropy
    match: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    in_place: bool = False
