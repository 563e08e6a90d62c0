"""Writes parts of the user's models as Python expressions, and evaluates expressions."""

from typing import Any

import keras
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

MODULES = {"torch": torch, "nn": nn, "F": F, "keras": keras, "np": np}
"""The modules that a line of Python may use."""


def evaluate(expression: str, **names: Any) -> Any:
    """Computes an expression of ``MODULES`` and further names."""
    return eval(expression, MODULES | names)


def torch_path(name: str) -> str:
    """Writes a module or parameter of ``torch_model``: ``features.0.weight`` as ``torch_model.features[0].weight``."""
    parts = (f"[{part}]" if part.isdigit() else f".{part}" for part in name.split(".") if part)
    return "torch_model" + "".join(parts)


def keras_path(model: keras.Model, layer: keras.Layer) -> str:
    """Writes a layer of ``keras_model``, also inside a nested model or a wrapper."""

    def below(owner: Any, text: str, depth: int) -> str | None:
        if owner is layer:
            return text
        for inner in getattr(owner, "_layers", []) if depth else []:
            names = [name for name, value in vars(owner).items() if value is inner]
            by_name = isinstance(owner, keras.Model) and hasattr(owner, "get_layer")
            step = f'.get_layer("{inner.name}")' if by_name else f".{names[0]}" if names else None
            if step is not None and (found := below(inner, text + step, depth - 1)) is not None:
                return found
        return None

    by_search = f'next(layer for layer in keras_model._flatten_layers() if layer.name == "{layer.name}")'
    return below(model, "keras_model", 4) or by_search


def call_text(function: str, arguments: dict[str, Any]) -> str:
    """Writes a call with keyword arguments."""
    return f"{function}({', '.join(f'{name}={value!r}' for name, value in arguments.items())})"
