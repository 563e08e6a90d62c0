"""Batches for Keras from a data set that lies in memory, in the order both frameworks share."""

import numpy as np
import tensorflow as tf

from cnn_mnist.data import mnist
from cnn_mnist.data.augmentation import augmentation
from cnn_mnist.data.order import batch_count, epoch_order
from cnn_mnist.data.splits import Split, evaluation_batch_size
from cnn_mnist.settings import DataSettings


class TrainingBatches:
    """The training set as a ``tf.data.Dataset`` of one epoch, whose order follows ``epoch``.

    Per batch nothing runs in Python, but for an augmentation: indices are cut and images gathered inside TensorFlow.

    Args:
        split: The training images and labels as found.
        settings: Size of a batch, the last may hold fewer; seed of the order; how the images are moved.
        dtype: What the images are given as, ``"float32"`` or ``"float64"``.
        count: Batches of each epoch that are given; None for all.

    Attributes:
        epoch: The epoch that the next iteration visits; set it before each.
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

        given = tf.data.Dataset.range(1).map(order).flat_map(batches)
        self._given, self._batch, self._count = given, batch, count or batch_count(size, batch_size)
        self.dataset = self.rest(0)

    def rest(self, first: int) -> tf.data.Dataset:
        """As ``dataset``, without the batches of the epoch before ``first``."""
        left = self._count - first
        indices = self._given.skip(first).take(left)
        return _ahead(indices.map(self._batch).apply(tf.data.experimental.assert_cardinality(left)))


def evaluation_batches(split: Split, dtype: str) -> tf.data.Dataset:
    """A split in its own order, as large batches (images, labels); arguments and shapes as in ``TrainingBatches``."""
    size = evaluation_batch_size(split.image_shape)
    return _ahead(tf.data.Dataset.from_tensor_slices(_tensors(split, dtype)).batch(size))


def _ahead(batches: tf.data.Dataset) -> tf.data.Dataset:
    """Has the next two batches made meanwhile, without the thread of ``tf.data.AUTOTUNE``.

    That one looks at the pipeline after 10 ms, 20, 40 and so on, and often whoever comes to the end of the batches
    waits for its next look: all cores idle, for up to as long as the batches took.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return batches.prefetch(2).with_options(options)


def _tensors(split: Split, dtype: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Images scaled in numpy, since inside a ``tf.function`` the division comes out otherwise."""
    with tf.device("CPU"):
        images = tf.convert_to_tensor(mnist.scale(split.images).astype(dtype))
        return images, tf.convert_to_tensor(split.labels.astype(np.int64))
