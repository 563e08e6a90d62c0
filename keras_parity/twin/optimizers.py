"""Makes the Keras optimizer that the settings name, and reads the settings of an optimizer."""

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
    """Makes Keras's own optimizer, with every setting passed, because the frameworks' defaults differ.

    Args:
        settings: The optimizer's name and settings.
        steps: Optimizer updates in the whole training, for the schedule; None for a constant rate.
        clip_norm: Maximum global norm of the gradients; None for no clipping.
    """
    rate = settings.learning_rate if steps is None else _rate(settings, steps)
    decay = settings.weight_decay if settings.optimizer == "adamw" else settings.weight_decay or None
    make = getattr(keras.optimizers, OPTIMIZERS[settings.optimizer].name)
    return make(rate, weight_decay=decay, global_clipnorm=clip_norm, **settings.optimizer_settings)


def copy_trained(trained: keras.Model, optimizer: keras.Optimizer, settings: ModelSettings) -> None:
    """Copies the state of a model's optimizer into a new optimizer, with a learning rate that Keras can save.

    Args:
        trained: The model in training.
        optimizer: An optimizer that ``make_optimizer`` made.
        settings: The settings of both.
    """
    optimizer.build(trained.trainable_variables)
    for variable, value in zip(optimizer.variables, trained.optimizer.variables, strict=True):
        variable.assign(value)
    keep_rate(optimizer, settings)


def keep_rate(optimizer: keras.Optimizer, settings: ModelSettings) -> None:
    """Freezes a trained optimizer's rate if stock Keras could not load the schedule of ``settings`` from a file."""
    if isinstance(_rate(settings, 1), _Table):
        now = float(optimizer.learning_rate)
        optimizer.learning_rate = keras.optimizers.schedules.PiecewiseConstantDecay([0], [now, now])


def settings_of(model: keras.Model, path: str | Path) -> dict[str, Any]:
    """Reads the ``ModelSettings`` of a model's optimizer.

    Args:
        model: A loaded model.
        path: Its file, for the message.

    Returns:
        The settings by name; numbers as they were typed.

    Raises:
        UserError: The model has no optimizer, or ``ModelSettings`` cannot describe it.
    """
    optimizer: Any = getattr(model, "optimizer", None)  # a model that was never compiled has none
    expected = f"expected one of {', '.join(OPTIMIZERS)} with a constant, step or cosine rate in {path}"
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
    # Keras stores float32 numbers: seven digits restore what was typed.
    typed = {key: float(f"{value:.7g}") if isinstance(value, float) else value for key, value in config.items()}
    settings: dict[str, Any] = {key: value for key, value in typed.items() if key in known and value is not None}
    settings["optimizer"] = type(optimizer).__name__.lower()
    usual = make_optimizer(ModelSettings(**settings)).get_config()
    unknown = [key for key in sorted(usual.keys() - known - {"name", "global_clipnorm"}) if config[key] != usual[key]]
    if unknown:
        raise UserError(f"{expected}, got {type(optimizer).__name__} with {unknown[0]}={config[unknown[0]]}")
    return settings


def _rate(settings: ModelSettings, steps: int) -> Any:
    """The learning rate, or its schedule: Keras's own, which can be saved, if it is the same."""
    s, schedules, rising = settings, keras.optimizers.schedules, warmup_steps(settings, steps)
    number = np.float64 if keras.config.floatx() == "float64" else float  # Keras's schedules take a float for a float32
    if s.schedule == "cosine":
        peak = number(s.learning_rate)
        return schedules.CosineDecay(number(0), steps - rising, warmup_target=peak, warmup_steps=rising)
    if s.schedule == "one_cycle" or s.warmup:
        return _Table([s.learning_rate * rate_factor(s, step, steps) for step in range(steps)])
    if s.schedule == "step":
        return schedules.ExponentialDecay(number(s.learning_rate), s.decay_steps, s.decay_rate, staircase=True)
    return s.learning_rate


class _Table(keras.optimizers.schedules.LearningRateSchedule):
    """Looks up the learning rate of each update in a table; keeps the last one afterwards."""

    def __init__(self, rates: list[float]) -> None:
        self.rates = np.array(rates, keras.config.floatx())

    def __call__(self, step: Any) -> Any:
        return keras.ops.take(self.rates, keras.ops.minimum(step, len(self.rates) - 1))
