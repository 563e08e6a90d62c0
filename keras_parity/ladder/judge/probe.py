"""A first look at both models: whether they take the inputs, and what they give."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_mnist.errors import UserError
from keras_parity.ladder.judge.keras_runner import as_given
from keras_parity.ladder.judge.nests import call_torch, cut, leaves, map_nest, to_arrays, with_c_strides

if TYPE_CHECKING:
    from keras_parity.ladder.judge.model_pair import ModelPair

PROBED = 64
"""How many samples the outputs are looked at for at the start."""


def probe(pair: "ModelPair") -> tuple[list[NDArray], list[NDArray], Any]:
    """Both models' outputs of the first samples, in inference, and Keras's as it gives them."""
    count = min(pair.count, PROBED)
    output = run_torch(pair, count)
    given = cut(pair.images, 0, count)
    try:
        keras_output = pair.keras_model(as_given(given), training=False)
    except Exception as error:  # of the user's own model
        raise UserError(
            _cannot_take("Keras", given, error, "images as Keras takes them, usually [n, h, w, c]")
        ) from None
    return to_arrays(output, keras_output), to_arrays(keras_output), keras_output


def run_torch(pair: "ModelPair", count: int) -> Any:
    """What the module gives for the first samples in inference mode, in its own structure."""
    given, modes = cut(pair.torch_images, 0, count), [(m, m.training) for m in pair.torch_model.modules()]
    device = next((p.device for p in pair.torch_model.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            pair.torch_model.eval()
            tensors = map_nest(lambda array: torch.tensor(with_c_strides(array), device=device), given)
            return call_torch(pair.torch_model, tensors)
    except Exception as error:  # of the user's own module
        give = "torch_images="
        if isinstance(pair.images, np.ndarray) and pair.images.ndim == 4:
            give += f", or images as [count, height, width, channels], which are turned; got {list(pair.images.shape)}"
        raise UserError(_cannot_take("PyTorch", given, error, give)) from None
    finally:
        for module, mode in modes:
            module.training = mode


def _cannot_take(framework: str, inputs: Any, error: Exception, give: str) -> str:
    shapes = [array.shape[1:] for array in leaves(inputs)]
    reason = " ".join(str(error).split())[:200]
    return f"{framework}'s model cannot take inputs of {shapes}: {reason}; give {give}"
