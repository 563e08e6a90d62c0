"""Reads a user's data set from an .npz file."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from cnn_mnist.architecture.layer_spec import times
from cnn_mnist.data.mnist import Mnist
from cnn_mnist.errors import UserError, expect, notify, of_system
from cnn_mnist.untrusted import fits

NAMES = ("x_train", "y_train", "x_test", "y_test")
MOST_BYTES = 2**32
"""Limit for the four arrays together; as float32 they take four times the memory."""

_MOST_PACKED = 2**31
"""Limit for compressed arrays together, of which a small file may declare any number."""

MOST_IMAGES = 4_000_000
"""Limit for the images of one array, each of which is compared with the others."""

_EXPANSION = 200  # drawings compress this well, blank images better

MOST_CLASSES = 256
"""Labels are uint8."""

_NUMBERED = (
    "number the classes of both sets together: _, y = np.unique(np.concatenate([y_train, y_test]), "
    "return_inverse=True); y_train, y_test = np.split(y.astype(np.uint8), [len(y_train)])"
)

DARK = 127
"""Images whose largest value is at most this probably have another range than 0 ... 255."""


def load(path: str | Path, channels_first: bool | None = None) -> Mnist:
    """Reads the arrays ``x_train``, ``y_train``, ``x_test`` and ``y_test`` without running code from the file.

    Gives a ``UserNotice`` about images with channels first, a small range, a class without test images, test images
    that are also training images, and further arrays, which are not read.

    Args:
        path: The .npz file: images uint8 [n, height, width] or [n, height, width, channels], labels uint8 [n] from 0
            to k - 1. Images [n, channels, height, width] are turned.
        channels_first: Whether the channels are first; None to detect it.

    Returns:
        The four arrays, with channels last.

    Raises:
        UserError: The file is damaged, an array is missing or has another type or shape, or the axis of the channels
            is unclear.
    """
    arrays = []
    try:
        with zipfile.ZipFile(path) as archive:
            if missing := [name for name in NAMES if f"{name}.npy" not in archive.namelist()]:
                others = ", ".join(name.removesuffix(".npy") for name in archive.namelist()[:8])
                raise ValueError(f"no item named {missing[0] + '.npy'!r}; rename the arrays, which are {others}")
            if (size := sum(archive.getinfo(f"{name}.npy").file_size for name in NAMES)) > MOST_BYTES:
                raise ValueError(f"{size:,} bytes of them, more than {MOST_BYTES:,}")
            file_size = Path(path).stat().st_size
            if not fits(size, path, _EXPANSION) or size > max(_MOST_PACKED, file_size):
                raise ValueError(f"{size:,} bytes of them in a file of {file_size:,}")
            further = [name.removesuffix(".npy") for name in archive.namelist() if name[:-4] not in NAMES]
            for name in NAMES:
                with archive.open(f"{name}.npy") as file:
                    arrays.append(npy.read_array(file, allow_pickle=False))
    except Exception as error:  # a damaged archive raises errors of zip, codec or header
        reason = of_system(error)
        if reason.startswith("Object arrays"):
            reason = f"{name} of Python objects; save numbers: np.stack({name})"
        raise UserError(f"{path}: expected an .npz file with the arrays {', '.join(NAMES)}, got {reason}") from None
    for name, array in zip(NAMES, arrays, strict=True):
        if array.ndim and len(array) > MOST_IMAGES:
            raise UserError(f"{path}: expected at most {MOST_IMAGES:,} entries of {name}, got {len(array):,}")
        axes = (3, 4) if name.startswith("x") else (1,)
        if array.dtype != np.uint8 or array.ndim not in axes or not array.size:
            wanted = "[n, height, width] or [n, height, width, channels]" if len(axes) > 1 else "[n]"
            got = f"{array.dtype} {times(array.shape)}"
            raise UserError(f"{path}: expected {name} as uint8 {wanted}, got {got}; {_remedy(name, array)}")
    data = Mnist(*arrays)
    for part, images, labels in ("train", *data[:2]), ("test", *data[2:]):
        came = f"{len(images)} images and {len(labels)} labels"
        expect(path, len(images) == len(labels), f"a label for each image in {part}", came)
    shapes = [times(images.shape[1:]) for images in (data.train_images, data.test_images)]
    expect(path, shapes[0] == shapes[1], "images of one shape in x_train and x_test", " and ".join(shapes))
    counts = np.bincount(data.train_labels)
    unseen = sorted(set(data.test_labels.tolist()) - set(data.train_labels.tolist()))
    came = f"{', '.join(map(str, unseen))}, of which y_train has no image; add some, or remove those test images"
    expect(path, not unseen, "only classes of y_train in y_test", came)
    every = f"every label from 0 to {len(counts) - 1} in y_train"
    expect(path, bool(counts.all()), every, f"none of {counts.argmin()}; {_NUMBERED}")
    first = _channels_first(path, data.train_images.shape[1:]) if channels_first is None else channels_first
    if first and data.train_images.ndim == 4:
        data = data._replace(**{n: np.moveaxis(getattr(data, n), 1, 3) for n in ("train_images", "test_images")})
    if further:
        names = f"{', '.join(further[:8])} {'is' if len(further) == 1 else 'are'} not read"
        notify(f"{path}: {names}; --data.val_size holds out training images")
    for notice in _notices(data, len(counts)):
        notify(f"{path}: {notice}")
    return data


def _remedy(name: str, array: np.ndarray) -> str:
    """Returns how to save an array of another type or shape."""
    if not array.size:
        return "save at least one"
    if name.startswith("y"):
        one_hot, found = array.ndim == 2 and array.shape[1] > 1, np.unique(array)
        if (classes := array.shape[1] if one_hot else len(found)) > MOST_CLASSES:
            return f"there may be {MOST_CLASSES} classes at most, these are {classes}"
        if not one_hot and not np.isin(found, np.arange(MOST_CLASSES)).all():
            return _NUMBERED
        return f"save {name}.{'argmax(axis=1)' if one_hot else 'ravel()'}.astype(np.uint8)"
    if array.dtype.kind not in "biuf":
        return "save it as numbers"
    if array.ndim not in (3, 4):
        return "reshape it"
    if array.dtype == bool or (array.min() >= 0 and array.max() <= 1):
        return f"save np.round({name} * 255.0).astype(np.uint8)"
    if array.min() >= 0 and array.max() <= 255:
        return f"save np.round({name}).astype(np.uint8)"
    return f"scale it to 0 ... 255, and save {name}.astype(np.uint8)"


def _channels_first(path: str | Path, shape: tuple[int, ...]) -> bool:
    """Returns whether images of a shape have their 1, 3 or 4 channels first; with a notice, because they are turned."""
    if len(shape) < 3 or shape[2] < min(shape[:2]):
        return False
    if shape[0] in (1, 3, 4) and shape[0] < min(shape[1:]):
        notice = f"the images are {times(shape)}, with channels first; they are turned to [height, width, channels]"
        notify(f"{path}: {notice}", stacklevel=4)
        return True
    came = f"{times(shape)}, which may be either; set --data.channels_first=true or false"
    raise UserError(f"{path}: expected images of height, width, channels or of channels, height, width, got {came}")


def _notices(data: Mnist, classes: int) -> Iterator[str]:
    """Yields what is probably a mistake in a data set, and what to do."""
    for name, images in (("x_train", data.train_images), ("x_test", data.test_images)):
        if 0 < (most := int(images.max())) <= DARK:
            remedy = f"if {most} is white, save {name} * {255 // most}"
            yield f"{name} has values up to {most} of 255, so the network's input is at most {most / 255:.2g}; {remedy}"
    if absent := sorted(set(range(classes)) - set(data.test_labels.tolist())):
        yield f"y_test has no image of class {', '.join(map(str, absent))}; test accuracy says nothing about it"
    seen = {hash(image.tobytes()) for image in data.train_images}
    if repeated := sum(hash(image.tobytes()) in seen for image in data.test_images):
        these = f"{repeated:,} of {len(data.test_images):,} test images are also training images"
        yield f"{these}, so test accuracy is too high; remove them from one set"
