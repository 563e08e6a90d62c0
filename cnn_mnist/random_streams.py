"""Random numbers with the same bits on every machine, in every version of numpy and in both frameworks.

numpy guarantees the raw bits of ``BitGenerator`` and ``SeedSequence``, but not the methods of ``Generator`` (NEP 19).
Therefore this module uses only raw bits.
"""

import math
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Purpose(IntEnum):
    """Use of a stream; each has its own bits."""

    ORDER = 0
    SPLIT = 1
    WEIGHTS = 2
    DROPOUT = 3
    AUGMENTATION = 4


def random_bits(size: int, seed: int, purpose: Purpose, *index: int) -> NDArray[np.uint64]:
    """Draws independent uniform 64-bit integers, a pure function of the arguments.

    Args:
        size: Number of integers.
        seed: The run's seed, at least 0.
        purpose: Use of the stream.
        *index: Number of the stream within its purpose, for example the epoch; 0 by default.

    Returns:
        uint64 [size].
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(purpose, *(index or (0,))))
    return np.asarray(np.random.PCG64(sequence).random_raw(size))


def permutation(size: int, seed: int, purpose: Purpose, index: int = 0) -> NDArray[np.int64]:
    """Draws a random order of ``range(size)``; arguments as in ``random_bits``."""
    return np.argsort(random_bits(size, seed, purpose, index), kind="stable")


def uniform(size: int, seed: int, purpose: Purpose, index: int = 0) -> NDArray[np.float64]:
    """Draws ``size`` numbers in [0, 1), multiples of 2**-53; arguments as in ``random_bits``."""
    bits = random_bits(size, seed, purpose, index) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


def dropout_mask(shape: tuple[int, ...], rate: float, seed: int, layer: int, step: int) -> NDArray[np.bool_]:
    """Draws the elements that a dropout keeps.

    Args:
        shape: (batch, ...), in Keras's order of axes.
        rate: Probability of dropping an element, in [0, 1), rounded to 1 / 65,536.
        seed: The run's seed.
        layer: Number of the dropout layer.
        step: Training step, counted from 0.

    Returns:
        True for kept elements, in the given shape.
    """
    size = math.prod(shape)
    bits = random_bits(-(-size // 4), seed, Purpose.DROPOUT, layer, step).view(np.uint16)[:size]
    return (bits >= round(rate * 2**16)).reshape(shape)
