"""The Keras optimizer that the settings name."""

from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import keras

from cnn_mnist.errors import UserError
from cnn_mnist.settings import ModelSettings, warmup_steps


def make_optimizer(settings: ModelSettings, steps: int | None = None) -> keras.Optimizer:
    """Keras's own optimizer with every setting given, since the defaults of the frameworks differ.

    Args:
        settings: Which, and its settings.
        steps: Updates in the whole training, which the schedule is laid over; None for a constant rate.
    """
    s, decay = settings, settings.weight_decay or None
    rate = s.learning_rate if s.schedule == "constant" or steps is None else _cosine(s, steps)
    if s.optimizer == "adamw":
        return keras.optimizers.AdamW(rate, s.weight_decay, s.beta_1, s.beta_2, s.epsilon)
    if s.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(rate, s.rho, s.momentum, s.epsilon, s.centered, weight_decay=decay)
    if s.optimizer == "sgd":
        return keras.optimizers.SGD(rate, s.momentum, s.nesterov, weight_decay=decay)
    return keras.optimizers.Adam(rate, s.beta_1, s.beta_2, s.epsilon, weight_decay=decay)


def settings_of(model: keras.Model, path: str | Path) -> dict[str, Any]:
    """The ``ModelSettings`` that a model's optimizer tells, by name; numbers as they were typed.

    Args:
        model: As it was loaded.
        path: Its file, for the message.

    Raises:
        UserError: It has no optimizer, or one that ``ModelSettings`` cannot describe.
    """
    optimizer: Any = getattr(model, "optimizer", None)  # which a model that was never compiled has not
    kinds = get_args(ModelSettings.__annotations__["optimizer"])
    expected = f"expected an optimizer of {', '.join(kinds)} at a constant or cosine rate in {path}"
    if type(optimizer).__name__.lower() not in kinds:
        raise UserError(f"{expected}, got {type(optimizer).__name__ if optimizer else 'none'}")
    config = optimizer.get_config() | {"schedule": "constant"}
    rate = config["learning_rate"]
    if isinstance(rate, dict):
        config |= {"learning_rate": rate["config"].get("warmup_target"), "schedule": "cosine"}
        if config["learning_rate"] is None:
            raise UserError(f"{expected}, got {rate['class_name']}")
    known = {entry.name for entry in fields(ModelSettings)}
    # Keras keeps numbers as float32: seven digits are what was typed.
    typed = {key: float(f"{value:.7g}") if isinstance(value, float) else value for key, value in config.items()}
    settings: dict[str, Any] = {key: value for key, value in typed.items() if key in known and value is not None}
    settings["optimizer"] = type(optimizer).__name__.lower()
    ours = make_optimizer(ModelSettings(**settings)).get_config()
    other = [key for key in sorted(config.keys() - known - {"name"}) if config[key] != ours[key]]
    if other:
        raise UserError(f"{expected}, got {type(optimizer).__name__} with {other[0]}={config[other[0]]}")
    return settings


def _cosine(settings: ModelSettings, steps: int) -> keras.optimizers.schedules.CosineDecay:
    rising = warmup_steps(steps, settings.warmup)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - rising, warmup_target=settings.learning_rate, warmup_steps=rising
    )
