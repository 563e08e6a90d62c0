"""The Keras optimizer that the settings name."""

from dataclasses import fields
from typing import Any

import keras

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


def settings_of(optimizer: keras.Optimizer) -> dict[str, Any]:
    """The ``ModelSettings`` that an optimizer tells, by name; numbers as they were typed."""
    known = {entry.name for entry in fields(ModelSettings)}
    config = {key: value for key, value in optimizer.get_config().items() if key in known and value is not None}
    rate = config["learning_rate"]
    if isinstance(rate, dict):
        config |= {"learning_rate": rate["config"]["warmup_target"], "schedule": "cosine"}
    # Keras keeps numbers as float32: seven digits are what was typed.
    typed = {key: float(f"{value:.7g}") if isinstance(value, float) else value for key, value in config.items()}
    return {"optimizer": type(optimizer).__name__.lower()} | typed


def _cosine(settings: ModelSettings, steps: int) -> keras.optimizers.schedules.CosineDecay:
    rising = warmup_steps(steps, settings.warmup)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - rising, warmup_target=settings.learning_rate, warmup_steps=rising
    )
