"""The PyTorch optimizer that the settings name."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from cnn_mnist.pytorch.keras_optimizers import KerasAdam, KerasRMSprop, KerasSGD
from cnn_mnist.settings import ModelSettings


def make_optimizer(params: Iterable[Tensor], settings: ModelSettings) -> torch.optim.Optimizer:
    """The optimizer that the settings name: with Keras's formula under ``align: keras``, else PyTorch's own."""
    params, s = list(params), settings
    decay = s.weight_decay
    if s.align == "keras":
        if s.optimizer == "rmsprop":
            return KerasRMSprop(params, s.learning_rate, s.rho, s.epsilon, s.momentum, s.centered, decay)
        if s.optimizer == "sgd":
            return KerasSGD(params, s.learning_rate, s.momentum, s.nesterov, decay)
        return KerasAdam(params, s.learning_rate, s.beta_1, s.beta_2, s.epsilon, decay)
    common: dict[str, Any] = {"lr": s.learning_rate, "weight_decay": decay, "foreach": True}
    betas = (s.beta_1, s.beta_2)
    if s.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            params, alpha=s.rho, eps=s.epsilon, momentum=s.momentum, centered=s.centered, **common
        )
    if s.optimizer == "sgd":
        return torch.optim.SGD(params, momentum=s.momentum, nesterov=s.nesterov, **common)
    kind = torch.optim.Adam if s.optimizer == "adam" else torch.optim.AdamW
    return kind(params, betas=betas, eps=s.epsilon, **common)
