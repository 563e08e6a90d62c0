"""Optimizer and schedule of the settings in PyTorch, and Keras's gradient clipping."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from cnn_mnist.pytorch.keras_optimizers import KerasAdam, KerasRMSprop, KerasSGD
from cnn_mnist.schedules import check_length, check_resumed_rate, rate_factor
from cnn_mnist.settings import OPTIMIZERS, ModelSettings

if TYPE_CHECKING:  # a conversion needs no Lightning
    from lightning.pytorch import Trainer


_WITH_KERAS_FORMULA: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "rmsprop": KerasRMSprop,
    "adam": KerasAdam,
    "adamw": KerasAdam,
    "sgd": KerasSGD,
}


def make_optimizer(params: Iterable[Tensor], settings: ModelSettings) -> torch.optim.Optimizer:
    """Creates the optimizer of the settings.

    Args:
        params: The parameters to train.
        settings: The model's settings; ``align`` chooses Keras's formula or PyTorch's.
    """
    params, rate, decay = list(params), settings.learning_rate, settings.weight_decay
    if settings.align == "keras":
        return _WITH_KERAS_FORMULA[settings.optimizer](params, rate, weight_decay=decay, **settings.optimizer_settings)
    name, takes = OPTIMIZERS[settings.optimizer]
    arguments = {takes[ours]: value for ours, value in settings.optimizer_settings.items()}
    if "betas" in arguments:  # two settings of ours
        arguments["betas"] = settings.beta_1, settings.beta_2
    return getattr(torch.optim, name)(params, lr=rate, weight_decay=decay, foreach=True, **arguments)


def clip_by_global_norm(params: Iterable[Tensor], limit: float) -> None:
    """Scales all gradients in place to a global norm of at most ``limit``; source: Keras's ``global_clipnorm``.

    PyTorch's ``clip_grad_norm_`` adds 1e-6 to the norm; this does not.

    Args:
        params: Those whose gradients are clipped, where they have one.
        limit: Greatest norm of all gradients as one vector, over 0.
    """
    grads = [param.grad for param in params if param.grad is not None]
    norm = torch.nn.utils.get_total_norm(grads)
    scale = limit * torch.clamp(1 / norm, max=1 / limit) + (norm - norm)  # NaN where the norm is infinite
    torch._foreach_mul_(grads, scale)


def placeholder_schedule(step: int) -> float:
    """Replaces the schedule's factor in ``configure_optimizers``, before the total number of updates is known.

    To count them there, Lightning would set up the data, and a run resumed within an epoch would lose its position.
    """
    return 1.0


def attach_schedule(trainer: "Trainer", settings: ModelSettings) -> None:
    """Replaces ``placeholder_schedule`` by the schedule, which depends on the total number of updates.

    Args:
        trainer: The trainer, with its data set up and its checkpoint restored.
        settings: The model's settings.

    Raises:
        UserError: The training has no end, or the learning rate of a resumed training would jump.
    """
    for config in trainer.lr_scheduler_configs:
        old = config.scheduler
        if isinstance(old, LambdaLR) and placeholder_schedule in old.lr_lambdas:
            steps = trainer.estimated_stepping_batches
            check_length(settings, steps)
            factor = partial(rate_factor, settings, steps=steps)
            config.scheduler = new = LambdaLR(old.optimizer, factor, old.last_epoch - 1)
            new._step_count = old._step_count  # saved in the checkpoint, but no argument sets it
            if new.last_epoch:
                check_resumed_rate(settings, float(old.get_last_lr()[0]), float(new.get_last_lr()[0]))
