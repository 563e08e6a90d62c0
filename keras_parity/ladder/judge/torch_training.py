"""Trains a PyTorch model: with a plain loop, a LightningModule's own methods, or the user's step."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from cnn_mnist.errors import UserError
from keras_parity.ladder.judge.nests import call_torch

Step = Callable[[Any, Any], Any]
Schedule = torch.optim.lr_scheduler.LRScheduler
Plateau = torch.optim.lr_scheduler.ReduceLROnPlateau
"""A schedule that waits for a metric. It is not stepped: no metric is computed, and Keras's callbacks do not run."""


@dataclass
class TorchTraining:
    """How the model trains.

    Attributes:
        step: One whole step (inputs, labels) -> loss before it.
        optimizers: The optimizers to restore.
        schedules: The schedules to restore.
        parts: Further modules with state, such as a loss.
        start: Called before the first step of each training.
        end: Restores what making this training changed.
    """

    step: Step
    optimizers: list[torch.optim.Optimizer] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    parts: list[nn.Module] = field(default_factory=list)
    start: Callable[[], None] = lambda: None
    end: Callable[[], None] = lambda: None


def _loop(loss: Step, optimizer: torch.optim.Optimizer, advance: Callable[[], None]) -> Step:
    """Builds a step: the gradients of a loss of (inputs, labels), the optimizer, then the schedules."""

    def step(inputs: Any, labels: Any) -> Any:
        def closure() -> Any:
            optimizer.zero_grad()
            value = loss(inputs, labels)
            value.backward()
            return value

        if isinstance(optimizer, torch.optim.LBFGS):
            value = optimizer.step(closure)
        else:
            value = closure()
            optimizer.step()
        advance()
        return value

    return step


def stock_training(
    model: nn.Module, loss: Callable[[Any, Any], Any], optimizer: torch.optim.Optimizer, schedules: list[Schedule]
) -> TorchTraining:
    """Builds PyTorch's usual loop: one loss, one optimizer, schedules stepped after every step."""

    def advance() -> None:
        for schedule in schedules:
            if not isinstance(schedule, Plateau):
                schedule.step()

    step = _loop(lambda inputs, labels: loss(call_torch(model, inputs), labels), optimizer, advance)
    parts = [loss] if isinstance(loss, nn.Module) else []
    return TorchTraining(step, [optimizer], schedules, parts)


def lightning_training(model: Any, batches: int) -> TorchTraining:
    """Builds the loop of a LightningModule, from ``training_step`` and ``configure_optimizers``, as a Trainer runs it.

    Args:
        model: The LightningModule.
        batches: Steps per epoch, for schedules that step by epoch.

    Raises:
        UserError: The module has several optimizers, or optimizes manually.
    """
    configured = model.configure_optimizers()
    optimizers, schedules = configured if isinstance(configured, tuple) else (configured, [])
    entries = [optimizers] if not isinstance(optimizers, (list, tuple)) else list(optimizers)
    found, configs = [], list(schedules) if isinstance(schedules, (list, tuple)) else [schedules]
    for entry in entries:
        found.append(entry["optimizer"] if isinstance(entry, dict) else entry)
        if isinstance(entry, dict) and "lr_scheduler" in entry:
            configs.append(entry["lr_scheduler"])
    configs = [config if isinstance(config, dict) else {"scheduler": config} for config in configs]
    if len(found) != 1 or not model.automatic_optimization:
        expected = "expected a LightningModule with one optimizer and automatic optimization"
        raise UserError(f"{expected}, got {len(found)} optimizers or a manual step; pass torch_step=")
    (optimizer,), count = found, 0

    def loss(inputs: Any, labels: Any) -> Any:
        value = model.training_step((inputs, labels), count % batches)
        return value["loss"] if isinstance(value, dict) else value

    def advance() -> None:
        nonlocal count
        count += 1
        for config in configs:
            period = config.get("frequency", 1) * (1 if config.get("interval", "epoch") == "step" else batches)
            if count % period == 0 and not isinstance(config["scheduler"], Plateau):
                config["scheduler"].step()

    def start() -> None:
        nonlocal count
        count = 0

    schedulers = [config["scheduler"] for config in configs]
    return TorchTraining(_loop(loss, optimizer, advance), [optimizer], schedulers, start=start)


def use_biased_variance(module: Any) -> None:
    """Hooks a batch norm so that its moving variance takes the batch's variance over n instead of over n - 1."""
    before: list[torch.Tensor] = []

    def save(_: Any, args: Any) -> None:
        if module.training and module.running_var is not None:
            before[:] = [module.running_var.clone()]

    def correct(_: Any, args: Any, output: torch.Tensor) -> None:
        if not (module.training and before):
            return
        batch = args[0].detach()
        momentum = module.momentum if module.momentum is not None else 1 / float(module.num_batches_tracked)
        biased = batch.var([axis for axis in range(batch.ndim) if axis != 1], correction=0)
        old, count = before.pop() * (1 - momentum), batch.numel() / batch.shape[1]
        used = (module.running_var - old) / momentum
        unbiased = biased * count / max(count - 1, 1)
        if (used - unbiased).abs().sum() < (used - biased).abs().sum():  # else the module already uses the biased one
            # .data, because autograd saved the buffer for a backward pass that does not read it.
            module.running_var.data.copy_(old + momentum * biased)

    module.register_forward_pre_hook(save)
    module.register_forward_hook(correct)
