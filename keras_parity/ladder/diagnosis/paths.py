"""How parts of the user's models are written in Python."""

from typing import Any

import keras


def torch_path(name: str) -> str:
    """A module or a parameter of ``torch_model``: ``features.0.weight`` as ``torch_model.features[0].weight``."""
    parts = (f"[{part}]" if part.isdigit() else f".{part}" for part in name.split(".") if part)
    return "torch_model" + "".join(parts)


def keras_path(model: keras.Model, layer: keras.Layer) -> str:
    """A layer of ``keras_model``, also one of a model or a wrapper in it."""

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

    every = f'next(layer for layer in keras_model._flatten_layers() if layer.name == "{layer.name}")'
    return below(model, "keras_model", 4) or every


def call_text(function: str, words: dict[str, Any]) -> str:
    """A call as Python writes it."""
    return f"{function}({', '.join(f'{name}={value!r}' for name, value in words.items())})"
