"""The training, validation and test splits of a run, and the images to predict."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.layer_spec import Shape, times
from cnn_mnist.data import mnist, npz, order
from cnn_mnist.data.known_sets import KNOWN_SETS
from cnn_mnist.errors import UserError
from cnn_mnist.settings import DataSettings

MOST_VIEWS = 50
"""Largest number of digits in a figure."""

View = tuple[NDArray[np.uint8], tuple[slice, slice]]
"""A picture's grey values [height, width], and the rows and columns of a box in it."""


def evaluation_batch_size(shape: Shape) -> int:
    """Returns the batch size for evaluation: as many images as have the pixels of 1,000 MNIST images.

    In batches of 1,000 an MNIST image takes 44 µs in PyTorch and 42 in TensorFlow. In batches of 250 it takes 48 and
    49 to 80 (2 cores of an AMD EPYC), with 100 MB less.

    Args:
        shape: (height, width, channels) of an image.
    """
    return max(1, 784_000 // (shape[0] * shape[1]))


class Split(NamedTuple):
    """Images and labels of a split.

    Attributes:
        images: uint8 [n, height, width, channels].
        labels: uint8 [n], in 0 ... number of classes - 1.
        classes: Names of the classes.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]

    @property
    def image_shape(self) -> Shape:
        """(height, width, channels) of one image."""
        return self.images.shape[1:]


class Digits(NamedTuple):
    """The images that are predicted, in the order of the command line or of the test set.

    Attributes:
        files: Path of each image, with [0], [1] if a picture has several digits; or its number in the test set.
        images: uint8 [n, height, width, channels]; the background of digits is 0.
        labels: uint8 [n]; None if unknown.
        views: For a figure: the picture of each of the first digits, and the digit's box in it.
        unreadable: Named files without an image.
    """

    files: list[str]
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None = None
    views: Sequence[View] = ()
    unreadable: Sequence[str] = ()


def load_full_sets(settings: DataSettings) -> tuple[Split, Split]:
    """Loads the complete training and test sets.

    Args:
        settings: Data set and folder.

    Returns:
        Training set and test set.

    Raises:
        UserError: The data are missing or damaged.
    """
    if settings.file is None:
        found, classes = mnist.load_mnist(settings.data_dir, settings.dataset), KNOWN_SETS[settings.dataset].classes
    else:
        found = npz.load(settings.file, settings.channels_first)
        classes = tuple(map(str, range(int(found.train_labels.max()) + 1)))
    images = (found.train_images, found.test_images)
    train, test = (array if array.ndim == 4 else array[..., None] for array in images)
    return Split(train, found.train_labels, classes), Split(test, found.test_labels, classes)


def load_splits(settings: DataSettings) -> dict[str, Split]:
    """Loads the data, splits them and checks the settings against them.

    Args:
        settings: Data set, batch size and validation split.

    Returns:
        ``"train"``, ``"val"`` (empty without a validation split) and ``"test"``.

    Raises:
        UserError: The data are missing or damaged, or the training set is too small for the settings.
    """
    full, test = load_full_sets(settings)
    train, val = order.split(full.labels, settings.val_size, settings.seed)
    order.check_batch_size(settings.batch_size, len(train))
    parts = {"train": train, "val": val}
    return {n: Split(full.images[i], full.labels[i], full.classes) for n, i in parts.items()} | {"test": test}


def check_network(split: Split, input_shape: Shape, classes: int) -> None:
    """Checks that a network fits the images and classes.

    Args:
        split: Any split of the data.
        input_shape: (height, width, channels) of the network's input.
        classes: Number of its logits.

    Raises:
        UserError: Shape or number of classes differs.
    """
    shape, count = split.image_shape, len(split.classes)
    if shape != input_shape:
        begin = f"begin the architecture with `- Input: {list(shape)}`"
        raise UserError(f"the images are {times(shape)}, the network takes {times(input_shape)}: {begin}")
    if count != classes:
        end = f"end the architecture with `- Dense: {count}`"
        raise UserError(f"the images are of {count} classes, the network has {classes} logits: {end}")
