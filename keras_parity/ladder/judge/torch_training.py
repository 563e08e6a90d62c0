"""How a PyTorch model is trained: by its own loop, by a LightningModule's methods, or by the usual one."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from keras_parity.ladder.judge.nests import call_torch


class NotComparedError(Exception):
    """The trainings cannot be compared; the text says why, and what to give."""


Step = Callable[[Any, Any], Any]
Schedule = torch.optim.lr_scheduler.LRScheduler


@dataclass
class TorchTraining:
    """How the model is trained.

    Attributes:
        step: One whole step of inputs and labels; gives the loss before it.
        optimizers: Whose state has to be put back.
        schedules: Likewise.
        parts: What else has state, as a loss that is a module.
        begin: Called before the first step of each training.
    """

    step: Step
    optimizers: list[torch.optim.Optimizer] = field(default_factory=list)
    schedules: list[Schedule] = field(default_factory=list)
    parts: list[nn.Module] = field(default_factory=list)
    begin: Callable[[], None] = lambda: None


def stock_training(
    model: nn.Module, loss: Callable[[Any, Any], Any], optimizer: torch.optim.Optimizer, schedules: list[Schedule]
) -> TorchTraining:
    """PyTorch's usual loop: one loss, one optimizer, a schedule that is stepped behind each of its steps."""

    def step(inputs: Any, labels: Any) -> Any:
        def closure() -> Any:
            optimizer.zero_grad()
            value = loss(call_torch(model, inputs), labels)
            value.backward()
            return value

        if isinstance(optimizer, torch.optim.LBFGS):
            value = optimizer.step(closure)
        else:
            value = closure()
            optimizer.step()
        for schedule in schedules:
            schedule.step()
        return value

    parts = [loss] if isinstance(loss, nn.Module) else []
    return TorchTraining(step, [optimizer], schedules, parts)


def lightning_training(model: Any, batches: int) -> TorchTraining:
    """A LightningModule's own ``training_step`` and ``configure_optimizers``, as a Trainer runs them."""
    made = model.configure_optimizers()
    optimizers, schedules = made if isinstance(made, tuple) else (made, [])
    entries = [optimizers] if not isinstance(optimizers, (list, tuple)) else list(optimizers)
    found, configs = [], list(schedules) if isinstance(schedules, (list, tuple)) else [schedules]
    for entry in entries:
        found.append(entry["optimizer"] if isinstance(entry, dict) else entry)
        if isinstance(entry, dict) and "lr_scheduler" in entry:
            configs.append(entry["lr_scheduler"])
    configs = [config if isinstance(config, dict) else {"scheduler": config} for config in configs]
    if len(found) != 1 or not model.automatic_optimization:
        raise NotComparedError("PyTorch's module steps several optimizers or by hand; give torch_step=")
    (optimizer,), count = found, 0

    def step(inputs: Any, labels: Any) -> Any:
        nonlocal count
        value = model.training_step((inputs, labels), count % batches)
        loss = value["loss"] if isinstance(value, dict) else value
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        count += 1
        for config in configs:
            period = config.get("frequency", 1) * (1 if config.get("interval", "epoch") == "step" else batches)
            if count % period == 0:
                config["scheduler"].step()
        return loss

    def begin() -> None:
        nonlocal count
        count = 0

    return TorchTraining(step, [optimizer], [config["scheduler"] for config in configs], begin=begin)


def objects_in(function: Any, kind: type) -> list[Any]:
    """The objects of a kind that a function's closure and globals name."""
    values = [cell.cell_contents for cell in getattr(function, "__closure__", None) or () if _filled(cell)]
    names = getattr(getattr(function, "__code__", None), "co_names", ())
    values += [function.__globals__[name] for name in names if name in getattr(function, "__globals__", {})]
    values += [value for owner in values for value in (owner if isinstance(owner, (list, tuple)) else ())]
    return [value for value in values if isinstance(value, kind)]


def _filled(cell: Any) -> bool:
    with suppress(ValueError):
        return cell.cell_contents is not cell
    return False
