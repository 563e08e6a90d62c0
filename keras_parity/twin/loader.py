"""Batches for Keras from a data set in memory, in the order that both frameworks share; without a backend's own types.

TensorFlow has its own version in ``engines/tensorflow.py``, which gathers inside its graph.
"""

from collections.abc import Callable

import keras
import numpy as np
from numpy.typing import NDArray

from cnn_mnist.data import mnist
from cnn_mnist.data.augmentation import augmentation
from cnn_mnist.data.order import batch_count, epoch_order
from cnn_mnist.data.splits import Split, evaluation_batch_size
from cnn_mnist.settings import DataSettings

Batch = tuple[NDArray[np.floating], NDArray[np.int64]]


class TrainingBatches:
    """The training set in batches, whose order follows ``epoch``.

    Args:
        split: The training images and labels.
        settings: Batch size (the last batch may be smaller), seed of the order, augmentation.
        dtype: Dtype of the images, ``"float32"`` or ``"float64"``.
        count: Number of batches in each epoch; None for all.

    Attributes:
        epoch: The epoch of the next iteration; set it before each iteration.
    """

    def __init__(self, split: Split, settings: DataSettings, dtype: str, count: int | None = None) -> None:
        self.epoch, self._ordered, self._settings = 0, -1, settings
        self._images, self._labels = _arrays(split, dtype)
        self._moved = augmentation(split, settings)
        self._count = count or batch_count(len(self._labels), settings.batch_size)

    def rest(self, first: int) -> keras.utils.PyDataset:
        """The batches of an epoch from number ``first`` on.

        Returns:
            Batches (images [batch, height, width, channels] in [0, 1], labels int64 [batch]).
        """
        return _Batches(self._batch, first, self._count)

    def _batch(self, number: int) -> Batch:
        if self._ordered != self.epoch:
            self._order = epoch_order(len(self._labels), self._settings.seed, self.epoch)
            self._ordered = self.epoch
        size = self._settings.batch_size
        taken = self._order[number * size : (number + 1) * size]
        if self._moved is None:
            return self._images[taken], self._labels[taken]
        return self._moved.batch(taken, self.epoch).astype(self._images.dtype), self._labels[taken]


class _Batches(keras.utils.PyDataset):
    """The batches of a function of their number; Keras calls it in the main thread."""

    def __init__(self, batch: Callable[[int], Batch], first: int, count: int) -> None:
        super().__init__()
        self._batch, self._first, self._count = batch, first, count

    def __len__(self) -> int:
        return self._count - self._first

    def __getitem__(self, number: int) -> Batch:
        return self._batch(self._first + number)


def evaluation_batches(split: Split, dtype: str) -> keras.utils.PyDataset:
    """A split in its own order, in large batches.

    Args:
        split: The images and labels.
        dtype: Dtype of the images, ``"float32"`` or ``"float64"``.

    Returns:
        Batches (images [batch, height, width, channels] in [0, 1], labels int64 [batch]).
    """
    size, (images, labels) = evaluation_batch_size(split.image_shape), _arrays(split, dtype)

    def batch(number: int) -> Batch:
        taken = slice(number * size, (number + 1) * size)
        return images[taken], labels[taken]

    return _Batches(batch, 0, batch_count(len(labels), size))


def _arrays(split: Split, dtype: str) -> Batch:
    return mnist.scale(split.images).astype(dtype), split.labels.astype(np.int64)
