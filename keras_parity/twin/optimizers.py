"""The Keras optimizer that the settings name."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cnn_mnist.errors import UserError
from cnn_mnist.schedules import rate_factor, warmup_steps
from cnn_mnist.settings import OPTIMIZERS, ModelSettings


def make_optimizer(
    settings: ModelSettings, steps: int | None = None, clip_norm: float | None = None
) -> keras.Optimizer:
    """Keras's own optimizer with every setting given, since the defaults of the frameworks differ.

    Args:
        settings: Which, and its settings.
        steps: Updates in the whole training, which the schedule is laid over; None for a constant rate.
        clip_norm: Greatest norm of all gradients as one vector; None for any.
    """
    rate = settings.learning_rate if steps is None else _rate(settings, steps)
    decay = settings.weight_decay if settings.optimizer == "adamw" else settings.weight_decay or None
    make = getattr(keras.optimizers, OPTIMIZERS[settings.optimizer].name)
    return make(rate, weight_decay=decay, global_clipnorm=clip_norm, **settings.optimizer_settings)


def copy_trained(trained: keras.Model, optimizer: keras.Optimizer, settings: ModelSettings) -> None:
    """Gives an optimizer that ``make_optimizer`` made the state of a model's own, and a rate that a file can tell."""
    optimizer.build(trained.trainable_variables)
    for ours, theirs in zip(optimizer.variables, trained.optimizer.variables, strict=True):
        ours.assign(theirs)
    keep_rate(optimizer, settings)


def keep_rate(optimizer: keras.Optimizer, settings: ModelSettings) -> None:
    """Has a trained optimizer stay at its rate where a file could not tell stock Keras the schedule of ``settings``."""
    if isinstance(_rate(settings, 1), _Table):
        now = float(optimizer.learning_rate)
        optimizer.learning_rate = keras.optimizers.schedules.PiecewiseConstantDecay([0], [now, now])


def settings_of(model: keras.Model, path: str | Path) -> dict[str, Any]:
    """The ``ModelSettings`` that a model's optimizer tells, by name; numbers as they were typed.

    Args:
        model: As it was loaded.
        path: Its file, for the message.

    Raises:
        UserError: It has no optimizer, or one that ``ModelSettings`` cannot describe.
    """
    optimizer: Any = getattr(model, "optimizer", None)  # which a model that was never compiled has not
    expected = f"expected an optimizer of {', '.join(OPTIMIZERS)} at a constant, step or cosine rate in {path}"
    if type(optimizer).__name__.lower() not in OPTIMIZERS:
        raise UserError(f"{expected}, got {type(optimizer).__name__ if optimizer else 'none'}")
    config = optimizer.get_config() | {"schedule": "constant"}
    match config["learning_rate"]:
        case {"class_name": "CosineDecay", "config": {"warmup_target": float(peak), "alpha": 0.0}}:
            config |= {"learning_rate": peak, "schedule": "cosine"}
        case {"class_name": "ExponentialDecay", "config": {"staircase": True} as steps}:
            config |= steps | {"learning_rate": steps["initial_learning_rate"], "schedule": "step"}
        case {"class_name": other}:
            raise UserError(f"{expected}, got {other}")
    known = {entry.name for entry in fields(ModelSettings)}
    # Keras keeps numbers as float32: seven digits are what was typed.
    typed = {key: float(f"{value:.7g}") if isinstance(value, float) else value for key, value in config.items()}
    settings: dict[str, Any] = {key: value for key, value in typed.items() if key in known and value is not None}
    settings["optimizer"] = type(optimizer).__name__.lower()
    ours = make_optimizer(ModelSettings(**settings)).get_config()
    other = [key for key in sorted(ours.keys() - known - {"name", "global_clipnorm"}) if config[key] != ours[key]]
    if other:
        raise UserError(f"{expected}, got {type(optimizer).__name__} with {other[0]}={config[other[0]]}")
    return settings


def _rate(settings: ModelSettings, steps: int) -> Any:
    """The learning rate, or its schedule: Keras's own, which a file can tell, where that is the same."""
    s, schedules, rising = settings, keras.optimizers.schedules, warmup_steps(settings, steps)
    if s.schedule == "cosine":
        return schedules.CosineDecay(0.0, steps - rising, warmup_target=s.learning_rate, warmup_steps=rising)
    if s.schedule == "one_cycle" or s.warmup:
        return _Table([s.learning_rate * rate_factor(s, step, steps) for step in range(steps)])
    if s.schedule == "step":
        return schedules.ExponentialDecay(s.learning_rate, s.decay_steps, s.decay_rate, staircase=True)
    return s.learning_rate


class _Table(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that is looked up, update by update; after them, the last one stays."""

    def __init__(self, rates: list[float]) -> None:
        self.rates = np.array(rates, keras.config.floatx())

    def __call__(self, step: Any) -> Any:
        return keras.ops.take(self.rates, keras.ops.minimum(step, len(self.rates) - 1))
