"""The settings of a ``Trainer`` that was built in Python, as ``config.yaml`` records them."""

import inspect
from typing import Any

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar, Timer
from lightning.pytorch.callbacks.model_summary import ModelSummary

from cnn_mnist.lightning_defaults import DEFAULTS


def trainer_settings(trainer: Trainer) -> dict[str, Any]:
    """Collects the settings and callbacks that a Python script gave to a trainer.

    Args:
        trainer: The trainer, whose fit has started.

    Returns:
        The settings by Lightning's names.
    """
    recorded = ("max_epochs", "min_steps", "precision", *DEFAULTS)
    settings = {name: getattr(value := getattr(trainer, name), "value", value) for name in recorded}
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    for timer in callbacks:
        if isinstance(timer, Timer) and (left := timer.time_remaining()) is not None:  # Lightning's form of max_time
            minutes, seconds = divmod(round(left), 60)
            settings["max_time"] = f"{minutes // 1440:02}:{minutes // 60 % 24:02}:{minutes % 60:02}:{seconds:02}"
    given = [_record(callback) for callback in callbacks if _is_users(callback)]
    return settings | ({"callbacks": given} if given else {})


def _is_users(callback: Callback) -> bool:
    """Whether a callback is neither ours nor recorded as a setting, and does more than print or keep each epoch."""
    if isinstance(callback, Timer | ProgressBar | ModelSummary):
        return False
    keeps_epochs = type(callback) is ModelCheckpoint and callback.monitor is None
    return not (keeps_epochs or type(callback).__module__.startswith("cnn_mnist."))


def _record(callback: Callback) -> dict[str, Any]:
    """A callback in LightningCLI's form, with those arguments that it keeps as attributes."""
    kind, arguments = type(callback), dict[str, Any]()
    for name in inspect.signature(kind).parameters:
        if name != "dirpath":  # of this run
            value = getattr(callback, name, getattr(callback, f"_{name}", None))
            plain = value is None or isinstance(value, bool | int | float | str)
            arguments[name] = value if plain else str(value)
    if "min_delta" in arguments:  # EarlyStopping turns its sign around
        arguments["min_delta"] = abs(arguments["min_delta"])
    return {"class_path": f"{kind.__module__}.{kind.__qualname__}", "init_args": arguments}
