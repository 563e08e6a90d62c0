"""Keras on JAX; see ``Engine``."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import keras
from jax import numpy as jnp
from numpy.typing import NDArray

from cnn_mnist.errors import UserError
from cnn_mnist.runs.environment import usable_cores
from keras_parity.twin.engines.float64 import float64_kept
from keras_parity.twin.loader import TrainingBatches as TrainingBatches
from keras_parity.twin.loader import evaluation_batches as evaluation_batches

steps_per_execution = 1
jit_compile = True


@contextmanager
def device(accelerator: str) -> Iterator[tuple[str, int]]:
    """Starts JAX on the CPU alone, from now on, unless a GPU is used."""
    jax.config.update("jax_default_matmul_precision", "highest")  # no TF32, in convolutions either
    threads = usable_cores()
    if accelerator == "cpu":
        jax.config.update("jax_platforms", "cpu")
    first = jax.devices()[0]
    if accelerator == "gpu" and first.platform != "gpu":
        raise UserError(
            f"--trainer.accelerator=gpu: expected a GPU that JAX {jax.__version__} can use, found only "
            f"{first.device_kind}; pip install 'jax[cuda12]', or use --trainer.accelerator=cpu"
        )
    yield first.device_kind if first.platform == "gpu" else "cpu", threads


@contextmanager
def float64() -> Iterator[None]:
    """Lets JAX and Keras keep float64, which they otherwise round to float32."""
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", True)
    try:
        with float64_kept():
            yield
    finally:
        jax.config.update("jax_enable_x64", before)


def draw(mask: Callable[[NDArray, tuple[int, ...]], NDArray], state: jax.Array, like: jax.Array) -> jax.Array:
    """Draws a mask with NumPy."""
    return jax.pure_callback(lambda state: mask(state, like.shape), jax.ShapeDtypeStruct(like.shape, bool), state)


def tune(layer: keras.Layer) -> None:
    """Takes the maximum of a pool's windows element by element where they do not overlap.

    XLA's own gradient of a maximum over windows takes a third of a step of ``three_conv`` on a CPU. As there, the
    gradient belongs to the first of equal elements.
    """
    if not isinstance(layer, keras.layers.MaxPooling2D) or layer.padding != "valid" or layer.strides != layer.pool_size:
        return
    down, across = layer.pool_size

    def call(images: jax.Array) -> jax.Array:
        height, width = (size // step * step for size, step in zip(images.shape[1:3], (down, across), strict=True))
        corners = [images[:, i:height:down, j:width:across] for i in range(down) for j in range(across)]
        most = corners[0]
        for other in corners[1:]:
            most = jnp.where((other > most) | jnp.isnan(other), other, most)
        return most

    layer.call = call


def sync(model: Any) -> None:
    """Writes the state of the running ``fit`` into the variables."""
    model.jax_state_sync()
