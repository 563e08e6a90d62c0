"""Keras on TensorFlow; see ``Engine``."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cnn_mnist.data import mnist
from cnn_mnist.data.augmentation import augmentation
from cnn_mnist.data.order import batch_count, epoch_order
from cnn_mnist.data.splits import Split, evaluation_batch_size
from cnn_mnist.errors import expect, no_gpu
from cnn_mnist.runs.environment import usable_cores
from cnn_mnist.settings import DataSettings
from keras_parity.frameworks import gpu_messages

steps_per_execution = 32
"""A shorter rest needs no new trace."""

jit_compile = False
""""auto" is off on a CPU and on with a GPU: two computations."""


class TrainingBatches:
    """``keras_parity.twin.loader.TrainingBatches`` as a ``tf.data.Dataset``.

    TensorFlow slices the indices and gathers the images; only an augmentation runs in Python for each batch.

    Attributes:
        epoch: The epoch of the next iteration; set it before each iteration.
        dataset: Batches (images [batch, height, width, channels] in [0, 1], labels int64 [batch]).
    """

    def __init__(self, split: Split, settings: DataSettings, dtype: str, count: int | None = None) -> None:
        self.epoch = 0
        images, labels = _tensors(split, dtype)
        size, batch_size, moved = len(split.labels), settings.batch_size, augmentation(split, settings)

        def order(_: tf.Tensor) -> tf.Tensor:
            indices = tf.numpy_function(lambda: epoch_order(size, settings.seed, self.epoch), [], tf.int64)
            return tf.ensure_shape(indices, [size])

        def batches(indices: tf.Tensor) -> tf.data.Dataset:
            starts = tf.data.Dataset.range(0, size, batch_size)
            return starts.map(lambda start: indices[start : start + batch_size])

        def batch(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            if moved is None:
                return tf.gather(images, indices), tf.gather(labels, indices)
            made = tf.numpy_function(lambda i: moved.batch(i, self.epoch), [indices], tf.float32)
            return tf.cast(tf.ensure_shape(made, [None, *split.image_shape]), dtype), tf.gather(labels, indices)

        indices = tf.data.Dataset.range(1).map(order).flat_map(batches)
        self._indices, self._batch, self._count = indices, batch, count or batch_count(size, batch_size)
        self.dataset = self.rest(0)

    def rest(self, first: int) -> tf.data.Dataset:
        """The batches of ``dataset`` from number ``first`` on."""
        left = self._count - first
        indices = self._indices.skip(first).take(left)
        return _ahead(indices.map(self._batch).apply(tf.data.experimental.assert_cardinality(left)))


def evaluation_batches(split: Split, dtype: str) -> tf.data.Dataset:
    """A split in its own order, in large batches: (images in [0, 1], labels int64 [batch])."""
    size = evaluation_batch_size(split.image_shape)
    return _ahead(tf.data.Dataset.from_tensor_slices(_tensors(split, dtype)).batch(size))


def _ahead(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Prepares the next two batches in advance, without ``tf.data.AUTOTUNE``.

    Autotuning looks at the pipeline after 10 ms, 20, 40 and so on. The end of the batches often waits for its next
    look, with all cores idle, for up to as long as the batches took.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(2).with_options(options)


def _tensors(split: Split, dtype: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Scales the images in numpy, because the division rounds differently inside a ``tf.function``."""
    with tf.device("CPU"):
        images = tf.convert_to_tensor(mnist.scale(split.images).astype(dtype))
        return images, tf.convert_to_tensor(split.labels.astype(np.int64))


@contextmanager
def device(accelerator: str, devices: int, processes: int) -> Iterator[tuple[str, int]]:
    """Hides the GPUs unless they are used, from now on."""
    count = devices * processes
    expect("--trainer.devices", count == 1, "1 on TensorFlow; --backend=jax takes more", count)
    tf.config.experimental.enable_tensor_float_32_execution(False)
    threads = tf.config.threading.get_intra_op_parallelism_threads() or usable_cores()
    gpus = tf.config.list_physical_devices("GPU")
    if accelerator == "gpu" and not gpus:
        raise no_gpu(f"TensorFlow {tf.__version__}", f"none ({gpu_messages() or 'TensorFlow gives no reason'})")
    if accelerator == "cpu" or not gpus:
        tf.config.set_visible_devices([], "GPU")
        yield "cpu", threads
    else:
        yield tf.config.experimental.get_device_details(gpus[0]).get("device_name", "gpu"), threads


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Sets TensorFlow's own setting, and restores it."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(allowed)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)


float64 = nullcontext


def draw(mask: Callable[[NDArray, tuple[int, ...]], NDArray], state: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Draws a mask with NumPy."""
    drawn = tf.numpy_function(lambda state, shape: mask(state, tuple(shape.tolist())), [state, tf.shape(like)], tf.bool)
    return tf.ensure_shape(drawn, like.shape)


def compiled(function: Callable[..., Any], variables: Sequence[keras.Variable]) -> Callable[..., Any]:
    """Traces a graph."""
    return tf.function(function, reduce_retracing=True)


def gradients(
    loss: Callable[[], Any], variables: Sequence[keras.Variable], assigned: Sequence[keras.Variable]
) -> tuple[Any, list[Any]]:
    """Differentiates with a tape."""
    with tf.GradientTape() as tape:
        value = loss()
    found = tape.gradient(value, [variable.value for variable in variables])
    return value, [gradient if gradient is None else tf.convert_to_tensor(gradient) for gradient in found]


def tune(layer: Any) -> None:
    """Does nothing: Keras's own way is the fastest."""


def sync(model: Any) -> None:
    """Does nothing: the variables always hold the last step's values."""
