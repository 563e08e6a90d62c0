"""The order of the samples, a pure function of (seed, epoch), and the validation split."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.errors import expect
from cnn_mnist.random_streams import Purpose, permutation


def epoch_order(size: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """Returns the order of the samples in an epoch.

    Args:
        size: Number of training samples.
        seed: The run's seed.
        epoch: Counted from 0.

    Returns:
        A permutation of ``range(size)``, int64 [size].
    """
    return permutation(size, seed, Purpose.ORDER, epoch)


def batch_count(size: int, batch_size: int) -> int:
    """Returns the number of batches in an epoch; the last may be smaller."""
    return -(-size // batch_size)


def batch_slices(size: int, batch_size: int, first: int = 0) -> Iterator[slice]:
    """Yields the batches of an epoch, from number ``first``, as slices of its order; the last may be smaller."""
    for start in range(first * batch_size, size, batch_size):
        yield slice(start, min(start + batch_size, size))


def check_batch_size(batch_size: int, size: int) -> None:
    """Raises ``UserError`` unless ``batch_size`` is in 1 ... ``size``."""
    expect("batch_size", 1 <= batch_size <= size, f"1 to {size} (the training images)", batch_size)


def check_shares(batch_size: int, size: int, processes: int) -> None:
    """Raises ``UserError`` unless each batch of an epoch has an image for each process that shares it."""
    last, fits = size % batch_size or batch_size, largest_shared_size(batch_size, size, processes)
    least = f"at least {processes} images in each batch, one for each process"
    came = f"{last} in the last of {size} images in batches of {batch_size}"
    expect("batch_size", fits == batch_size, least, f"{came}; use {fits or 'fewer processes'}")


def largest_shared_size(most: int, size: int, processes: int) -> int:
    """Returns the largest batch size up to ``most`` that leaves an image for each process, or 0.

    Args:
        most: Largest number of images in a batch.
        size: Number of images in an epoch.
        processes: Number of processes that share each batch.
    """
    return next((n for n in range(most, 0, -1) if (size % n or n) >= processes), 0)


def split(labels: NDArray[np.uint8], val_size: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Holds out ``val_size`` samples, stratified by class to within one sample.

    Quotas are rounded by the largest remainders (Hare's method).

    Args:
        labels: Class of each sample, uint8 [size].
        val_size: Number of samples to hold out, 0 ... size - 1.
        seed: The run's seed.

    Returns:
        Indices to train on and indices held out, each ascending, int64.

    Raises:
        UserError: No sample would be left to train on, or ``val_size`` is negative.
    """
    size = len(labels)
    most = f"0 to {size - 1} of the {size} training images, since one must remain"
    expect("val_size", 0 <= val_size < size, most, val_size)
    counts = np.bincount(labels)
    seats, remainders = np.divmod(counts * val_size, size)
    by_remainder = np.argsort(-remainders, kind="stable")
    seats[by_remainder[: val_size - seats.sum()]] += 1

    shuffled = permutation(size, seed, Purpose.SPLIT)
    held_out = np.zeros(size, dtype=bool)
    for digit, seat_count in enumerate(seats):
        held_out[shuffled[labels[shuffled] == digit][:seat_count]] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
