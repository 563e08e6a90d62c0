"""The splits of MNIST that a run uses: training, validation and test."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.data import mnist, order

EVALUATION_BATCH_SIZE = 250
"""Batches of 64 to 2,000 evaluate at the same speed (51 to 57 µs an image); 1,000 took 100 MB more than 250."""


class Split(NamedTuple):
    """A split of MNIST as found: images uint8 [n, 28, 28], labels uint8 [n]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def load_splits(data_dir: str, batch_size: int, val_size: int, seed: int) -> dict[str, Split]:
    """Finds or makes MNIST, and checks the arguments against it.

    Args:
        data_dir: Folder of the MNIST files.
        batch_size: Images in a batch.
        val_size: Training images that are held out for validation.
        seed: Which ones.

    Returns:
        ``"train"``, ``"val"`` (empty where nothing is held out) and ``"test"``, the test set whole.

    Raises:
        UserError: MNIST is missing or not MNIST, or the training set is too small for the arguments.
    """
    raw = mnist.load(data_dir)
    train, val = order.split(raw.train_labels, val_size, seed)
    order.check_batch_size(batch_size, len(train))
    return {
        "train": Split(raw.train_images[train], raw.train_labels[train]),
        "val": Split(raw.train_images[val], raw.train_labels[val]),
        "test": Split(raw.test_images, raw.test_labels),
    }
