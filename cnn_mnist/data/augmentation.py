"""Random shifts and rotations of training images, with the same bits in both frameworks and after a resume."""

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
    """Rotates each image about its centre, then shifts it; background fills the rest.

    Angle and shift are a function of (seed, epoch, number of the image), independent of batch and process.

    Args:
        split: The training images.
        settings: Maximum shift and rotation, and the seed.
    """

    split: Split
    settings: DataSettings

    def batch(self, indices: NDArray[np.int64], epoch: int) -> NDArray[np.float32]:
        """Returns the augmented images of a batch.

        Args:
            indices: Numbers of the images in the split, int64 [batch].
            epoch: Counted from 0.

        Returns:
            float32 [batch, height, width, channels] in [0, 1].
        """
        drawn, most = _draws(len(self.split.labels), self.settings.seed, epoch)[indices], self.settings.shift
        shifts = np.floor(drawn[:, :2] * (2 * most + 1)) - most
        angles = (2 * drawn[:, 2] - 1) * np.radians(self.settings.rotation)
        return move(scale(self.split.images[indices]), shifts, angles)


def augmentation(split: Split, settings: DataSettings) -> Augmentation | None:
    """Returns the augmentation that the settings ask for; None if they ask for none."""
    return Augmentation(split, settings) if settings.shift or settings.rotation else None


@lru_cache(maxsize=1)
def _draws(size: int, seed: int, epoch: int) -> NDArray[np.float64]:
    """Draws three numbers in [0, 1) for each image, [size, 3]; once an epoch, in 1 ms."""
    return uniform(3 * size, seed, Purpose.AUGMENTATION, epoch).reshape(size, 3)


def move(images: NDArray[np.float32], shifts: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float32]:
    """Rotates each image about its centre and shifts it, with bilinear interpolation and zeros around it.

    Args:
        images: [n, height, width, channels].
        shifts: Pixels down and to the right, [n, 2].
        angles: Radians, counterclockwise, [n].

    Returns:
        float32 [n, height, width, channels].
    """
    count, height, width, channels = images.shape
    rows, columns = np.mgrid[:height, :width].reshape(2, 1, -1) - np.array([height - 1, width - 1]).reshape(2, 1, 1) / 2
    down, right = rows - shifts[:, :1], columns - shifts[:, 1:]
    cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
    # The source position of each pixel; two rows of zeros on each side represent everything outside.
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
