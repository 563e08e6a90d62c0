"""A data set of the user's own, from one .npz file."""

import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from cnn_mnist.architecture.layer_spec import times
from cnn_mnist.data.mnist import Mnist
from cnn_mnist.errors import UserError

NAMES = ("x_train", "y_train", "x_test", "y_test")
MOST_BYTES = 2**32
"""Of the four arrays together: as float32, which the trainers compute in, they take four times as much memory."""


def load(path: str | Path) -> Mnist:
    """Reads the arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test``, and runs no code from the file.

    Args:
        path: The .npz file: images uint8 [n, height, width] or [n, height, width, channels], labels uint8 [n] that run
            from 0 to k - 1.

    Raises:
        UserError: It is no such file.
    """
    arrays = []
    try:
        with zipfile.ZipFile(path) as archive:
            if (size := sum(archive.getinfo(f"{name}.npy").file_size for name in NAMES)) > MOST_BYTES:
                raise ValueError(f"{size:,} bytes of them, more than {MOST_BYTES:,}")
            for name in NAMES:
                with archive.open(f"{name}.npy") as file:
                    arrays.append(npy.read_array(file, allow_pickle=False))
    except Exception as error:  # a damaged archive fails in zip, codec or header, each with errors of its own
        reason = " ".join((getattr(error, "strerror", None) or str(error)).split())[:120]
        raise UserError(f"{path}: expected an .npz file with the arrays {', '.join(NAMES)}, got {reason}") from None
    for name, array in zip(NAMES, arrays, strict=True):
        axes = (3, 4) if name.startswith("x") else (1,)
        if array.dtype != np.uint8 or array.ndim not in axes or not array.size:
            wanted = "[n, height, width] or [n, height, width, channels]" if len(axes) > 1 else "[n]"
            raise UserError(f"{path}: expected {name} as uint8 {wanted}, got {array.dtype} {times(array.shape)}")
    data = Mnist(*arrays)
    for part, images, labels in ("train", *data[:2]), ("test", *data[2:]):
        if len(images) != len(labels):
            raise UserError(f"{path}: expected a label for each image, got {len(images)} and {len(labels)} in {part}")
    if data.train_images.shape[1:] != data.test_images.shape[1:]:
        shapes = " and ".join(times(images.shape[1:]) for images in (data.train_images, data.test_images))
        raise UserError(f"{path}: expected images of one shape in x_train and x_test, got {shapes}")
    counts = np.bincount(data.train_labels)
    if not counts.all() or data.test_labels.max() >= len(counts):
        odd = int(data.test_labels.max() if counts.all() else counts.argmin())
        raise UserError(f"{path}: expected labels from 0 to {len(counts) - 1}, all in y_train, got none of {odd} there")
    return data
