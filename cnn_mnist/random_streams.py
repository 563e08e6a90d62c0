"""Random numbers that are the same on every machine, in every version of numpy and in both frameworks.

numpy keeps the raw bits of a ``BitGenerator`` and of ``SeedSequence`` fixed for ever, but not what
``Generator`` makes of them (NEP 19), so everything here is made from the raw bits.
"""

import math
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Purpose(IntEnum):
    """What a stream is for, so that no two purposes share their bits."""

    ORDER = 0
    SPLIT = 1
    WEIGHTS = 2
    DROPOUT = 3
    AUGMENTATION = 4


def random_bits(size: int, seed: int, purpose: Purpose, *index: int) -> NDArray[np.uint64]:
    """``size`` independent uniform 64-bit integers, a pure function of the arguments.

    Args:
        size: How many.
        seed: The run's seed, at least 0.
        purpose: Which family of streams.
        *index: Which stream of the family: an epoch, say, or a tensor; 0 by default.
    """
    sequence = np.random.SeedSequence(seed, spawn_key=(purpose, *(index or (0,))))
    return np.asarray(np.random.PCG64(sequence).random_raw(size))


def permutation(size: int, seed: int, purpose: Purpose, index: int = 0) -> NDArray[np.int64]:
    """A random order of ``range(size)``; arguments as in ``random_bits``."""
    return np.argsort(random_bits(size, seed, purpose, index), kind="stable")


def uniform(size: int, seed: int, purpose: Purpose, index: int = 0) -> NDArray[np.float64]:
    """``size`` numbers in [0, 1), multiples of 2**-53; arguments as in ``random_bits``."""
    bits = random_bits(size, seed, purpose, index) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


def dropout_mask(shape: tuple[int, ...], rate: float, seed: int, layer: int, step: int) -> NDArray[np.bool_]:
    """Which elements a dropout keeps.

    Args:
        shape: (batch, ...), in Keras's order of axes.
        rate: Probability of dropping one, in [0, 1), to 1 / 65,536.
        seed: The run's seed.
        layer: Which module of the network.
        step: The training step, counted from 0.
    """
    size = math.prod(shape)
    bits = random_bits(-(-size // 4), seed, Purpose.DROPOUT, layer, step).view(np.uint16)[:size]
    return (bits >= round(rate * 2**16)).reshape(shape)
