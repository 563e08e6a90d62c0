"""Reads a user's data set from an .npz file."""

import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from cnn_mnist.architecture.layer_spec import times
from cnn_mnist.data.mnist import Mnist
from cnn_mnist.errors import UserError
from cnn_mnist.untrusted import fits

NAMES = ("x_train", "y_train", "x_test", "y_test")
MOST_BYTES = 2**32
"""Limit for the four arrays together; as float32 they take four times the memory."""

_EXPANSION = 200  # drawings compress this well, blank images better


def load(path: str | Path) -> Mnist:
    """Reads the arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test`` without running code from the file.

    Args:
        path: The .npz file: images uint8 [n, height, width] or [n, height, width, channels], labels uint8 [n] from 0
            to k - 1.

    Returns:
        The four arrays.

    Raises:
        UserError: The file is damaged, or an array is missing or has another type or shape.
    """
    arrays = []
    try:
        with zipfile.ZipFile(path) as archive:
            if (size := sum(archive.getinfo(f"{name}.npy").file_size for name in NAMES)) > MOST_BYTES:
                raise ValueError(f"{size:,} bytes of them, more than {MOST_BYTES:,}")
            if not fits(size, path, _EXPANSION):
                raise ValueError(f"{size:,} bytes of them in a file of {Path(path).stat().st_size:,}")
            for name in NAMES:
                with archive.open(f"{name}.npy") as file:
                    arrays.append(npy.read_array(file, allow_pickle=False))
    except Exception as error:  # a damaged archive raises errors of zip, codec or header
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
            raise UserError(
                f"{path}: expected a label for each image in {part}, got {len(images)} images and {len(labels)} labels"
            )
    if data.train_images.shape[1:] != data.test_images.shape[1:]:
        shapes = " and ".join(times(images.shape[1:]) for images in (data.train_images, data.test_images))
        raise UserError(f"{path}: expected images of one shape in x_train and x_test, got {shapes}")
    counts = np.bincount(data.train_labels)
    if not counts.all() or data.test_labels.max() >= len(counts):
        absent = int(data.test_labels.max() if counts.all() else counts.argmin())
        raise UserError(f"{path}: expected every label from 0 to {len(counts) - 1} in y_train, got none of {absent}")
    return data
