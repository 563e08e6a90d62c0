"""A first look at both models: whether they take the inputs, and what they give."""

from typing import Any

import keras
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cnn_mnist.errors import UserError
from keras_parity.ladder.judge.keras_runner import as_given
from keras_parity.ladder.judge.nests import call_torch, cut, leaves, map_nest, to_arrays, with_c_strides

PROBED = 64
"""How many samples the outputs are looked at for at the start."""


def probe(
    torch_model: nn.Module, keras_model: keras.Model, torch_images: Any, images: Any, count: int
) -> tuple[list[NDArray], list[NDArray], Any]:
    """Both models' outputs of the first samples, in inference, and Keras's as it gives them."""
    count = min(count, PROBED)
    output = run_torch(torch_model, torch_images, count)
    given = cut(images, 0, count)
    try:
        keras_output = keras_model(as_given(given), training=False)
    except Exception as error:  # of the user's own model
        raise UserError(
            _cannot_take("Keras", given, error, "images as Keras takes them, usually [n, h, w, c]")
        ) from None
    return to_arrays(output, keras_output), to_arrays(keras_output), keras_output


def run_torch(model: nn.Module, images: Any, count: int) -> Any:
    """What the module gives for the first samples in inference mode, in its own structure."""
    given, modes = cut(images, 0, count), [(m, m.training) for m in model.modules()]
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            model.eval()
            tensors = map_nest(lambda array: torch.tensor(with_c_strides(array), device=device), given)
            return call_torch(model, tensors)
    except Exception as error:  # of the user's own module
        give = "torch_images="
        if isinstance(images, np.ndarray) and images.ndim == 4:
            count, channels, *size = images.shape
            turned = [count, *size, channels]
            give += f", or images as [count, height, width, channels], which are turned; got {turned}"
        raise UserError(_cannot_take("PyTorch", given, error, give)) from None
    finally:
        for module, mode in modes:
            module.training = mode


def _cannot_take(framework: str, inputs: Any, error: Exception, give: str) -> str:
    shapes = [array.shape[1:] for array in leaves(inputs)]
    reason = " ".join(str(error).split())[:200]
    return f"{framework}'s model cannot take inputs of {shapes}: {reason}; give {give}"
