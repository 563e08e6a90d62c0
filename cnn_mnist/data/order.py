"""The order of the samples, a pure function of (seed, epoch), and which of them are held out."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.errors import UserError
from cnn_mnist.random_streams import Purpose, permutation


def epoch_order(size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch visits the samples.

    Args:
        size: Number of training samples.
        seed: The run's seed.
        epoch: Counted from 0.

    Returns:
        A permutation of ``range(size)``, int64 [size].
    """
    return permutation(size, seed, Purpose.ORDER, epoch)


def batch_count(size: int, batch_size: int) -> int:
    """Number of batches in an epoch, the last one possibly smaller."""
    return -(-size // batch_size)


def batch_slices(size: int, batch_size: int, first: int = 0) -> Iterator[slice]:
    """The batches of an epoch as slices of its order, from batch ``first`` on; the last may be smaller."""
    for start in range(first * batch_size, size, batch_size):
        yield slice(start, min(start + batch_size, size))


def check_batch_size(batch_size: int, size: int) -> None:
    """Raises ``UserError`` unless ``batch_size`` lies in 1 ... ``size``."""
    if not 1 <= batch_size <= size:
        raise UserError(f"batch_size: expected 1 to {size} (the training images), got {batch_size}")


def split(labels: NDArray[np.uint8], val_size: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Holds ``val_size`` samples out, each class in its proportion to within one.

    The seats that rounding down leaves over go to the largest remainders (Hare's method).

    Args:
        labels: Class of each sample, uint8 [size].
        val_size: How many to hold out, 0 ... size - 1.
        seed: The run's seed.

    Returns:
        Indices that train and indices held out, each ascending, int64.

    Raises:
        UserError: Nothing would be left to train on, or ``val_size`` is negative.
    """
    size = len(labels)
    if not 0 <= val_size < size:
        raise UserError(
            f"val_size: expected 0 to {size - 1} of the {size} training images, since one must train, got {val_size}"
        )
    counts = np.bincount(labels)
    seats, remainders = np.divmod(counts * val_size, size)
    by_remainder = np.argsort(-remainders, kind="stable")
    seats[by_remainder[: val_size - seats.sum()]] += 1

    shuffled = permutation(size, seed, Purpose.SPLIT)
    held_out = np.zeros(size, dtype=bool)
    for digit, seat_count in enumerate(seats):
        held_out[shuffled[labels[shuffled] == digit][:seat_count]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
