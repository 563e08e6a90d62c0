"""The PyTorch optimizer that the settings name, and Keras's clipping of gradients."""

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


def clip_by_global_norm(params: Iterable[Tensor], limit: float) -> None:
    """Scales all gradients together, in place, down to a common norm of ``limit``; source: Keras's ``global_clipnorm``.

    PyTorch's ``clip_grad_norm_`` adds 1e-6 to the norm; this does not.

    Args:
        params: Those whose gradients are clipped, where they have one.
        limit: Greatest norm of all gradients as one vector, over 0.
    """
    grads = [param.grad for param in params if param.grad is not None]
    norm = torch.nn.utils.get_total_norm(grads)
    scale = limit * torch.clamp(1 / norm, max=1 / limit) + (norm - norm)  # NaN where the norm is infinite
    torch._foreach_mul_(grads, scale)
