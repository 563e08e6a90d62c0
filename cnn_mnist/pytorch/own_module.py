"""Runs a user's own module with the weights of a file; the user names its Python file on the command line."""

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cnn_mnist.errors import UserError, expect

HELP = "Your own module, as FILE.py:CLASS: the file runs, and the module is the source of what is compared."


def build_module(source: str, state: Mapping[str, Tensor]) -> tuple[nn.Module, dict[str, str]]:
    """Runs a Python file, makes a module of its class without arguments, and loads its weights.

    Args:
        source: ``FILE.py:CLASS``; the class, or a function that returns the module.
        state: The arrays of a state dict by name; the module may be a part of what was saved.

    Returns:
        The module, in evaluation mode; and the name in ``state`` of each array of the module, by the module's name.

    Raises:
        UserError: There is no such file or class, its code fails, or the arrays are not those of the module.
    """
    path, _, name = source.rpartition(":")
    expect("--source", Path(path or ".").is_file(), "FILE.py:CLASS", f"{source}; no such file exists")
    module: Any = None
    try:
        module = runpy.run_path(path)[name]()
    except KeyError:
        pass
    except Exception as error:  # raised by the user's own code
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"--source: {source} raises {reason}; make it work without arguments") from None
    expect("--source", isinstance(module, nn.Module), f"a class of {path} that makes an nn.Module", name)
    wanted = module.state_dict()
    prefixes = {"", *(full[: place + 1] for full in state for place, letter in enumerate(full) if letter == ".")}
    for prefix in sorted(prefixes, key=len):
        if all(getattr(state.get(prefix + name), "shape", None) == tensor.shape for name, tensor in wanted.items()):
            module.load_state_dict({name: state[prefix + name] for name in wanted})
            return module.eval(), {name: prefix + name for name in wanted}
    missing = next((name for name in wanted if name not in state), "a shape")
    raise UserError(f"--source: expected the arrays of {source}, got others ({missing}); name the class that was saved")


def names_in_call_order(module: nn.Module, image: Tensor) -> list[str]:
    """Runs a module, and returns the names of its arrays in the order in which its parts are called.

    Args:
        module: The module; those of its parts that are not called are left out.
        image: An image that it takes, [1, channels, height, width].
    """
    called: dict[str, None] = {}
    hooks = [
        part.register_forward_pre_hook(lambda *_, name=name: called.setdefault(name))
        for name, part in module.named_modules()
    ]
    try:
        with torch.inference_mode():
            module(image)
    except Exception as error:  # raised by the user's own code
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"--source: the module raises {reason} on an image {tuple(image.shape)}") from None
    finally:
        for hook in hooks:
            hook.remove()
    order = list(called)
    names = [name for name in module.state_dict() if name.rpartition(".")[0] in called]
    return sorted(names, key=lambda name: order.index(name.rpartition(".")[0]))
