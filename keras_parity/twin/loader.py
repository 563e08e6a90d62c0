"""Batches for Keras from a data set that lies in memory, in the order both frameworks share."""

import numpy as np
import tensorflow as tf

from cnn_mnist.data import mnist
from cnn_mnist.data.order import batch_count, epoch_order
from cnn_mnist.data.splits import Split


class TrainingBatches:
    """The training set as a ``tf.data.Dataset`` of one epoch, whose order follows ``epoch``.

    Per batch nothing runs in Python: indices are cut and images gathered inside TensorFlow.

    Args:
        split: The training images and labels as found.
        batch_size: Images in a batch; the last may hold fewer.
        seed: Seed of the order.
        dtype: What the images are given as, ``"float32"`` or ``"float64"``.
        count: Batches of each epoch that are given; None for all.

    Attributes:
        epoch: The epoch that the next iteration visits; set it before each.
        dataset: Batches (images [batch, 28, 28, 1] in [0, 1], labels int64 [batch]).
    """

    def __init__(self, split: Split, batch_size: int, seed: int, dtype: str, count: int | None = None) -> None:
        self.epoch = 0
        images, labels = _tensors(split, dtype)
        size = len(split.labels)

        def order(_: tf.Tensor) -> tf.Tensor:
            indices = tf.numpy_function(lambda: epoch_order(size, seed, self.epoch), [], tf.int64)
            return tf.ensure_shape(indices, [size])

        def batches(indices: tf.Tensor) -> tf.data.Dataset:
            starts = tf.data.Dataset.range(0, size, batch_size)
            return starts.map(lambda start: indices[start : start + batch_size])

        self.dataset = (
            tf.data.Dataset.range(1)
            .map(order)
            .flat_map(batches)
            .map(lambda indices: (tf.gather(images, indices), tf.gather(labels, indices)))
            .take(batch_count(size, batch_size) if count is None else count)
            .apply(tf.data.experimental.assert_cardinality(count or batch_count(size, batch_size)))
            .prefetch(tf.data.AUTOTUNE)
        )


def evaluation_batches(split: Split, batch_size: int, dtype: str) -> tf.data.Dataset:
    """A split in its own order, as batches (images, labels); arguments and shapes as in ``TrainingBatches``."""
    return tf.data.Dataset.from_tensor_slices(_tensors(split, dtype)).batch(batch_size).prefetch(tf.data.AUTOTUNE)


def _tensors(split: Split, dtype: str) -> tuple[tf.Tensor, tf.Tensor]:
    """Images scaled in numpy, since inside a ``tf.function`` the division comes out otherwise."""
    with tf.device("CPU"):
        images = tf.convert_to_tensor(mnist.scale(split.images)[..., None].astype(dtype))
        return images, tf.convert_to_tensor(split.labels.astype(np.int64))
