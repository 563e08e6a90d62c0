"""The parts of MNIST that a run uses: what trains, what is held out, what tests.

Ground floor: numpy only; imported by both trainers.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_mnist import batches, mnist
from cnn_mnist.settings import DataSettings

EVALUATION_BATCH_SIZE = 250
"""Batches of 64 to 2,000 evaluate at the same speed (51 to 57 µs an image); 1,000 took 100 MB more than 250."""


class Part(NamedTuple):
    """A part of MNIST as found: images uint8 [n, 28, 28], labels uint8 [n]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def load_parts(settings: DataSettings) -> dict[str, Part]:
    """Finds or makes MNIST, and checks the settings against it.

    Args:
        settings: Where the data lies, and how much of it is held out.

    Returns:
        ``"train"``, ``"val"`` (empty where nothing is held out) and ``"test"``, the test set whole.

    Raises:
        UserError: MNIST is missing or not MNIST, or the training set is too small for the settings.
    """
    raw = mnist.load(settings.data_dir)
    train, val = batches.split(raw.train_labels, settings.val_size, settings.seed)
    batches.check_batch_size(settings.batch_size, len(train))
    return {
        "train": Part(raw.train_images[train], raw.train_labels[train]),
        "val": Part(raw.train_images[val], raw.train_labels[val]),
        "test": Part(raw.test_images, raw.test_labels),
    }
