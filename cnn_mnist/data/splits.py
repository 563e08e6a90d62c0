"""The splits of the data set that a run uses, training, validation and test, and the images that are predicted."""

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
"""Digits whose photos are kept for a figure."""

View = tuple[NDArray[np.uint8], tuple[slice, slice]]
"""A picture's grey values [height, width], and a box in it, rows and columns."""


def evaluation_batch_size(shape: Shape) -> int:
    """Images (height, width, channels) in a batch that is evaluated: as many as have the pixels of 1,000 of MNIST's.

    In batches of 1,000 an image of MNIST takes 44 µs in PyTorch and 42 in TensorFlow, in batches of 250 it takes 48 and
    49 to 80 (2 cores of an AMD EPYC), for 100 MB less.
    """
    return max(1, 784_000 // (shape[0] * shape[1]))


class Split(NamedTuple):
    """A part of a data set as found.

    Attributes:
        images: uint8 [n, height, width, channels].
        labels: uint8 [n], from 0 to one less than there are classes.
        classes: Their names.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]

    @property
    def image_shape(self) -> Shape:
        """(height, width, channels) of one image."""
        return self.images.shape[1:]


class Digits(NamedTuple):
    """What is predicted, in the order of the command line or of the test set.

    Attributes:
        files: Path of each image, with [0], [1] where a picture has several; or its number in the test set.
        images: uint8 [n, height, width, channels]; of digits, 0 is background.
        labels: uint8 [n], where they are known.
        views: Of the first digits, the picture and the digit's box in it, for a figure.
    """

    files: list[str]
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None = None
    views: Sequence[View] = ()


def load_full_sets(settings: DataSettings) -> tuple[Split, Split]:
    """The training set and the test set, each whole.

    Raises:
        UserError: The data are missing, or are others than the settings say.
    """
    if settings.file is None:
        found, classes = mnist.load_mnist(settings.data_dir, settings.dataset), KNOWN_SETS[settings.dataset].classes
    else:
        found = npz.load(settings.file)
        classes = tuple(map(str, range(found.train_labels.max() + 1)))
    images = (found.train_images, found.test_images)
    train, test = (array if array.ndim == 4 else array[..., None] for array in images)
    return Split(train, found.train_labels, classes), Split(test, found.test_labels, classes)


def load_splits(settings: DataSettings) -> dict[str, Split]:
    """Finds or makes the data, and checks the settings against them.

    Returns:
        ``"train"``, ``"val"`` (empty where nothing is held out) and ``"test"``, the test set whole.

    Raises:
        UserError: The data are missing or others, or the training set is too small for the settings.
    """
    whole, test = load_full_sets(settings)
    train, val = order.split(whole.labels, settings.val_size, settings.seed)
    order.check_batch_size(settings.batch_size, len(train))
    parts = {"train": train, "val": val}
    return {n: Split(whole.images[i], whole.labels[i], whole.classes) for n, i in parts.items()} | {"test": test}


def check_network(split: Split, input_shape: Shape, classes: int) -> None:
    """Raises ``UserError`` unless a network takes the images and has a logit for each class.

    Args:
        split: Any of the data.
        input_shape: (height, width, channels) that the network takes.
        classes: Its logits.
    """
    shape, count = split.image_shape, len(split.classes)
    if shape != input_shape:
        begin = f"begin the architecture with `- Input: {list(shape)}`"
        raise UserError(f"the images are {times(shape)}, the network takes {times(input_shape)}: {begin}")
    if count != classes:
        end = f"end the architecture with `- Dense: {count}`"
        raise UserError(f"the images are of {count} classes, the network has {classes} logits: {end}")
