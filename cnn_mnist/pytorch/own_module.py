"""Runs a user's own module with the weights of a file; the user names its Python file on the command line."""

import runpy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnn_mnist.architecture.layer_spec import times
from cnn_mnist.errors import UserError, expect, few, notify
from cnn_mnist.pytorch.loader import outputs_of, to_tensor
from cnn_mnist.pytorch.state_dicts import read_state


@contextmanager
def _users_code(what: str, end: str) -> Iterator[None]:
    """Turns an error of the user's own code into a ``UserError`` of one line, with its ``end``."""
    try:
        yield
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(f"--source: {what} raises {reason}{end}") from None


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
    with _users_code(source, "; make it work without arguments"), suppress(KeyError):
        module = runpy.run_path(path)[name]()
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
        with torch.inference_mode(), _users_code("the module", f" on an image {tuple(image.shape)}"):
            module(image)
    finally:
        for hook in hooks:
            hook.remove()
    order = list(called)
    names = [name for name in module.state_dict() if name.rpartition(".")[0] in called]
    return sorted(names, key=lambda name: order.index(name.rpartition(".")[0]))


def logits_of(module: nn.Module, images: NDArray[np.floating]) -> NDArray:
    """Computes a module's logits in float64; of a module that ends in a softmax, the logarithms of its probabilities.

    Args:
        module: A module that takes images [n, channels, height, width].
        images: Images [n, height, width, channels].

    Returns:
        The logits [n, classes].
    """
    tensor = torch.from_numpy(np.array(np.moveaxis(images, -1, 1), order="C")).double()
    return _as_logits(outputs_of(module.double(), tensor))


def _as_logits(outputs: NDArray[np.floating]) -> NDArray[np.floating]:
    """Turns probabilities into their logarithms; other outputs are logits."""
    probabilities = (outputs >= 0).all() and np.allclose(outputs.sum(-1), 1)
    return np.log(np.maximum(outputs, np.finfo(outputs.dtype).tiny)) if probabilities else outputs


def predict(source: str, path: Path, images: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Computes logits with a user's own module and the weights of a file.

    Args:
        source: As in ``build_module``.
        path: A file of ``torch.save``, or a ``.safetensors`` file.
        images: uint8 [n, height, width, channels]; the module gets them as float32 [n, channels, height, width] in
            [0, 1].

    Returns:
        The logits [n, classes].

    Raises:
        UserError: As in ``read_state`` and ``build_module``, or the module does not give [n, classes] for the images.
    """
    state = read_state(path)
    module, names = build_module(source, state)
    if left := sorted(state.keys() - names.values()):
        notify(f"{path}: left out: {few(left, 1)}, which {source} does not have")
    with _users_code(source, f" on images of {times(images.shape[1:])}"):
        outputs = outputs_of(module, to_tensor(images))
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise UserError(f"--source: expected outputs [n, classes] of {source}, got {list(outputs.shape)}")
    return _as_logits(outputs)
