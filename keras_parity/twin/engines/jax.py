"""Keras on JAX; see ``Engine``."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import jax
import keras
from jax import numpy as jnp
from keras.src.backend.jax import trainer
from numpy.typing import NDArray

from cnn_mnist.errors import expect, no_gpu
from cnn_mnist.runs.environment import usable_cores
from keras_parity.twin.engines.float64 import float64_kept
from keras_parity.twin.loader import TrainingBatches as TrainingBatches
from keras_parity.twin.loader import evaluation_batches as evaluation_batches

steps_per_execution = 1
jit_compile = True


@contextmanager
def device(accelerator: str, devices: int, processes: int) -> Iterator[tuple[str, int]]:
    """Keeps JAX on the CPU from now on, unless a GPU is used; splits the CPU into ``devices`` devices."""
    jax.config.update("jax_default_matmul_precision", "highest")  # no TF32, in convolutions either
    threads = usable_cores()
    if accelerator == "cpu":
        jax.config.update("jax_platforms", "cpu")
    if devices > 1:
        jax.config.update("jax_num_cpu_devices", devices)
    if processes > 1:
        keras.distribution.initialize()
    found = jax.local_devices()
    first = found[0]
    if accelerator == "gpu" and first.platform != "gpu":
        raise no_gpu(f"JAX {jax.__version__}", f"only {first.device_kind}", "pip install 'jax[cuda12]', or ")
    expect("--trainer.devices", devices <= len(found), f"at most the {len(found)} devices of this machine", devices)
    if devices * processes > 1:
        shared = [one for n in range(processes) for one in jax.local_devices(process_index=n)[:devices]]
        keras.distribution.set_distribution(_Shares(shared))
    try:
        yield first.device_kind if first.platform == "gpu" else "cpu", threads
    finally:
        keras.distribution.set_distribution(None)


class _Shares(keras.distribution.DataParallel):
    """Gives each device an equal share of a batch; if the last batch does not divide, every device computes it all."""

    def __init__(self, devices: list[jax.Device]) -> None:
        super().__init__(devices=[f"{device.platform}:{device.id}" for device in devices], auto_shard_dataset=False)
        self._count = len(devices)

    def get_data_layout(self, data_shape: tuple[int, ...]) -> Any:
        """Returns how an array is spread over the devices."""
        if data_shape[0] % self._count == 0:
            return super().get_data_layout(data_shape)
        return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)


def _distributed(epoch: Any, distribution: keras.distribution.DataParallel) -> Iterator[Any]:
    """Lays out each batch by its own shape, and takes each device's share of it, in every process.

    Keras 3.15 uses the first batch's layout for all, and expects a process to load its share alone; nothing public
    changes either.
    """

    def place(array: NDArray | None) -> jax.Array | None:
        if array is None:
            return None
        layout = distribution.get_data_layout(array.shape).backend_layout
        return jax.make_array_from_callback(array.shape, layout, array.__getitem__)

    return (keras.tree.map_structure(place, batch) for batch in epoch.data_adapter.get_jax_iterator())


trainer.JAXEpochIterator._get_distributed_iterator = _distributed


def tf32(allowed: bool) -> AbstractContextManager[None]:
    """Sets the precision of JAX's matrix products and convolutions."""
    return jax.default_matmul_precision("tensorfloat32" if allowed else "highest")


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


def compiled(function: Callable[..., Any], variables: Sequence[keras.Variable]) -> Callable[..., Any]:
    """Compiles a function of the variables' values, and assigns what it returns for them."""

    @jax.jit
    def pure(values: list[jax.Array], *args: Any) -> tuple[Any, list[jax.Array]]:
        with keras.StatelessScope(list(zip(variables, values, strict=True))) as scope:
            out = function(*args)
        return out, [scope.get_current_value(variable) for variable in variables]

    def run(*args: Any) -> Any:
        out, values = pure([variable.value for variable in variables], *args)
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return out

    return run


def gradients(
    loss: Callable[[], Any], variables: Sequence[keras.Variable], assigned: Sequence[keras.Variable]
) -> tuple[Any, list[Any]]:
    """Differentiates a function of the variables' values."""
    before = [variable.value for variable in assigned]

    def pure(values: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
        with keras.StatelessScope(list(zip([*variables, *assigned], [*values, *before], strict=True))) as scope:
            value = loss()
        return value, [scope.get_current_value(variable) for variable in assigned]

    (value, after), found = jax.value_and_grad(pure, has_aux=True)([variable.value for variable in variables])
    for variable, new in zip(assigned, after, strict=True):
        variable.assign(new)
    return value, found


def tune(layer: keras.Layer) -> None:
    """Takes the maximum of a pool's windows element by element where they do not overlap.

    XLA's own gradient of a maximum over windows takes a third of a step of ``three_conv`` on a CPU. Here too, the
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
