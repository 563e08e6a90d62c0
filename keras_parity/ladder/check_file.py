"""Checks the two models that a Python file makes: ``ladder --port``."""

import runpy
from functools import partial
from pathlib import Path
from typing import Any

from cnn_mnist.errors import UserError
from keras_parity.ladder.check import check
from keras_parity.ladder.report import Report


def check_file(path: Path, **words: Any) -> Report:
    """Checks the two models of a file.

    Args:
        path: A Python file whose functions are named after ``check``'s arguments. ``torch_optimizer`` takes the
            parameters, ``torch_step`` takes (model, optimizer, inputs, labels).
        **words: Further arguments of ``check``.

    Returns:
        The report of ``check``.

    Raises:
        UserError: The file does not exist, lacks a function or raises an error.
    """
    if not path.is_file():
        raise UserError(f"expected a Python file, got {path}; no such file exists")
    try:
        functions = runpy.run_path(str(path))
        missing = [name for name in ("torch_model", "keras_model", "data") if not callable(functions.get(name))]
        if missing:
            raise UserError(f"{path}: expected functions torch_model, keras_model and data, {missing[0]} is missing")
        models, (images, labels) = [functions[name]() for name in ("torch_model", "keras_model")], functions["data"]()
        made = {"torch_optimizer": lambda make: make(models[0].parameters())} | dict.fromkeys(
            ("keras_optimizer", "torch_images", "torch_labels", "match", "weights", "batch_size", "class_weight",
             "sample_weight"), lambda make: make())  # fmt: skip
        words |= {name: make(functions[name]) for name, make in made.items() if name in functions}
        words |= {name: functions[name] for name in ("torch_loss", "keras_loss", "torch_schedule") if name in functions}
        if "torch_step" in functions:
            words["torch_step"] = partial(functions["torch_step"], models[0], words.get("torch_optimizer"))
    except UserError:
        raise
    except Exception as error:  # raised by the user's own code
        raise UserError(f"{path} raises {type(error).__name__}: {error}".splitlines()[0]) from None
    return check(models[0], models[1], images, labels, **words)
