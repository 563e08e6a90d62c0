"""Keras on PyTorch; see ``Engine``."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from cnn_mnist.architecture.windows import pad_same
from cnn_mnist.errors import expect, no_gpu
from keras_parity.twin.engines.float64 import float64_kept
from keras_parity.twin.loader import TrainingBatches as TrainingBatches
from keras_parity.twin.loader import evaluation_batches as evaluation_batches

steps_per_execution = 1
"""Keras refuses more."""

jit_compile = False


@contextmanager
def device(accelerator: str, devices: int, processes: int) -> Iterator[tuple[str, int]]:
    """Makes Keras use the chosen device."""
    expect("--trainer.devices", devices * processes == 1, "1 on PyTorch; --backend=jax takes more", devices * processes)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    usable = torch.cuda.is_available()
    if accelerator == "gpu" and not usable:
        raise no_gpu(f"PyTorch {torch.__version__}")
    chosen = "cuda" if usable and accelerator != "cpu" else "cpu"
    with keras.device(chosen):
        yield torch.cuda.get_device_name() if chosen == "cuda" else chosen, torch.get_num_threads()


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Sets PyTorch's own settings, and restores them."""
    backends: tuple[Any, ...] = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = allowed
    try:
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


float64 = float64_kept


def draw(mask: Callable[[NDArray, tuple[int, ...]], NDArray], state: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Draws a mask with NumPy."""
    if like.device.type == "meta":  # Keras asks for the shape alone
        return torch.empty_like(like, dtype=torch.bool)
    return torch.from_numpy(mask(state.cpu().numpy(), tuple(like.shape))).to(like.device)


def compiled(function: Callable[..., Any], variables: Sequence[keras.Variable]) -> Callable[..., Any]:
    """Returns the function itself: ``torch.compile`` would take longer than it saves."""
    return function


def gradients(
    loss: Callable[[], Any], variables: Sequence[keras.Variable], assigned: Sequence[keras.Variable]
) -> tuple[Any, list[Any]]:
    """Differentiates backwards through what was recorded."""
    value = loss()
    return value.detach(), list(torch.autograd.grad(value, [each.value for each in variables], allow_unused=True))


def tune(layer: keras.Layer) -> None:
    """Lets convolutions and pools keep the order of Keras's axes in memory, as PyTorch's channels_last does.

    Keras 3.15 copies each of their inputs to the order of PyTorch's axes, and the convolutions' back again: half of a
    step of ``three_conv`` on a CPU. Average pools leave the zeros of their padding out, as on TensorFlow and JAX: Keras
    3.15 counts them where an axis has more of them after than before it.
    """
    if isinstance(layer, keras.layers.MaxPooling2D) and layer.padding == "valid":
        layer.call = lambda images: _last(F.max_pool2d(_first(images), layer.pool_size, layer.strides))
    elif isinstance(layer, keras.layers.AveragePooling2D) and layer.padding == "same":

        def average(images: torch.Tensor) -> torch.Tensor:
            axes = zip(images.shape[2:0:-1], layer.pool_size[::-1], layer.strides[::-1], strict=True)
            pads = [pad for axis in axes for pad in pad_same(*axis)]
            image = _first(images)
            means, shares = (
                F.avg_pool2d(F.pad(each, pads), layer.pool_size, layer.strides)
                for each in (image, image.new_ones(image.shape))
            )
            return _last(means / shares)

        layer.call = average
    elif isinstance(layer, keras.layers.Conv2D) and layer.padding == "valid":

        def convolve(images: torch.Tensor) -> torch.Tensor:
            kernel, bias = layer.kernel.value.permute(3, 2, 0, 1), layer.bias.value if layer.use_bias else None
            image = _first(images)
            more = {"stride": layer.strides, "dilation": layer.dilation_rate, "groups": layer.groups}
            return layer.activation(_last(F.conv2d(image, kernel, bias, **more)))

        layer.call = convolve


def _first(images: torch.Tensor) -> torch.Tensor:
    return images.permute(0, 3, 1, 2)


def _last(images: torch.Tensor) -> torch.Tensor:
    return images.permute(0, 2, 3, 1)


def sync(model: Any) -> None:
    """Does nothing: the variables always hold the last step's values."""
