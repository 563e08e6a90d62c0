"""Training images moved and turned at random: the same bits in both frameworks, in an epoch and in a resumed one."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.data.mnist import scale
from cnn_mnist.data.splits import Split
from cnn_mnist.random_streams import Purpose, uniform
from cnn_mnist.settings import DataSettings


@dataclass(frozen=True, eq=False)
class Augmentation:
    """Batches of a split, each image turned about its centre, then shifted, with background where nothing comes from.

    Angle and shift are a function of (seed, epoch, number of the image), whatever batch or process it falls into.

    Args:
        split: The training images.
        settings: By how much, and the seed.
    """

    split: Split
    settings: DataSettings

    def batch(self, indices: NDArray[np.int64], epoch: int) -> NDArray[np.float32]:
        """The images of a batch.

        Args:
            indices: Their numbers in the split, [batch].
            epoch: Counted from 0.

        Returns:
            [batch, height, width, channels] in [0, 1].
        """
        drawn, most = _draws(len(self.split.labels), self.settings.seed, epoch)[indices], self.settings.shift
        shifts = np.floor(drawn[:, :2] * (2 * most + 1)) - most
        angles = (2 * drawn[:, 2] - 1) * np.radians(self.settings.rotation)
        return move(scale(self.split.images[indices]), shifts, angles)


def augmentation(split: Split, settings: DataSettings) -> Augmentation | None:
    """What the settings ask for; None where the images stay as they are."""
    return Augmentation(split, settings) if settings.shift or settings.rotation else None


@lru_cache(maxsize=1)
def _draws(size: int, seed: int, epoch: int) -> NDArray[np.float64]:
    """Numbers in [0, 1) for each image, [size, 3]; made once an epoch, in 1 ms."""
    return uniform(3 * size, seed, Purpose.AUGMENTATION, epoch).reshape(size, 3)


def move(images: NDArray[np.float32], shifts: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float32]:
    """Turns each image about its centre and shifts it, with bilinear interpolation and zeros around it.

    Args:
        images: [n, height, width, channels].
        shifts: Pixels down and to the right, [n, 2].
        angles: Radians, anticlockwise, [n].
    """
    count, height, width, channels = images.shape
    rows, columns = np.mgrid[:height, :width].reshape(2, 1, -1) - np.array([height - 1, width - 1]).reshape(2, 1, 1) / 2
    down, right = rows - shifts[:, :1], columns - shifts[:, 1:]
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    # Where the value of each pixel comes from; two rows of zeros on every side stand for all that lies outside.
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0))).reshape(-1, channels)
    y = np.clip(cos * down + sin * right + (height + 3) / 2, 0, height + 2.5)
    x = np.clip(cos * right - sin * down + (width + 3) / 2, 0, width + 2.5)
    top, left = y.astype(np.int64), x.astype(np.int64)
    below, beside = (y - top).astype(np.float32)[..., None], (x - left).astype(np.float32)[..., None]
    corner = (np.arange(count)[:, None] * (height + 4) + top) * (width + 4) + left

    def between(corner: NDArray[np.int64]) -> NDArray[np.float32]:
        one, other = (padded.take(place, axis=0, mode="clip") for place in (corner, corner + 1))
        return one * (1 - beside) + other * beside

    return (between(corner) * (1 - below) + between(corner + width + 4) * below).reshape(images.shape)
