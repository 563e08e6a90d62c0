"""Finds the sheet in a photo and the ink on it, without light and shadow.

Lengths are fractions of the page's shorter side unless stated otherwise; ink is 1 - grey / paper.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

Page = NDArray[np.floating]
Mask = NDArray[np.bool_]

LEAST_INK = 0.08
"""A page with less ink is blank."""


def unit(page: NDArray[np.generic], part: float) -> int:
    """Converts a fraction of a page's shorter side to pixels, at least 1."""
    return max(1, round(part * min(page.shape)))


def _small(page: Page, side: int) -> Page:
    """Averages the page down to a shorter side of about ``side`` pixels."""
    from PIL import Image

    return np.asarray(Image.fromarray(page).reduce(max(1, min(page.shape) // side)))


def is_dark_ink(grey: Page) -> bool:
    """Returns whether the page differs from its border more towards dark than towards bright, ignoring uneven light."""
    level = _small(grey, 100)
    level = level - ndimage.gaussian_filter(level, unit(level, 0.3))
    paper = np.median(np.concatenate([level[0], level[-1], level[:, 0], level[:, -1]]))
    return bool(level.max() - paper < paper - level.min())


def find_sheet(grey: Page) -> Mask | None:
    """Finds a sheet on a darker surface by its sharp edges, which shadows lack; returns it without its rim, or None."""
    small = _small(grey, 200)
    level = np.log(small + 8)
    smooth = ndimage.maximum_filter(level, 3) - ndimage.minimum_filter(level, 3) < 0.3
    labels, _ = ndimage.label(smooth)
    rim = np.pad(np.zeros([side - 2 for side in small.shape], bool), 1, constant_values=True)
    for number in np.flatnonzero(np.bincount(labels.ravel()) > 0.1 * labels.size):
        filled = ndimage.binary_fill_holes(labels == number)
        if number and filled.mean() > 0.15 and filled[rim].mean() < 0.6 and _is_rectangle(filled):
            inner = ndimage.binary_erosion(filled, iterations=2)
            nearest = ndimage.distance_transform_edt(~inner, return_distances=False, return_indices=True)
            if (small < 0.75 * small[tuple(nearest)])[rim & ~filled].mean() > 0.8:
                return _resized(inner, grey.shape) > 0.5
    return None


def _is_rectangle(filled: Mask) -> bool:
    """Returns whether an area is a rectangle at any angle, like a sheet and unlike a thick 0."""
    _, sides = least_rectangle(np.argwhere(filled))
    return bool(filled.sum() > 0.8 * (sides + 1).prod())


def least_rectangle(places: NDArray[np.int_]) -> tuple[ConvexHull, NDArray[np.floating]]:
    """Returns the convex hull of points [n, 2] and the sides of its smallest enclosing rectangle at any angle.

    Raises:
        QhullError: The points are on a line.
    """
    hull = ConvexHull(places)
    turns = np.deg2rad(np.arange(-45, 45))
    axes = np.stack([[np.cos(turns), np.sin(turns)], [-np.sin(turns), np.cos(turns)]])
    sides = np.ptp(places[hull.vertices] @ axes, axis=1)
    return hull, sides[:, sides.prod(axis=0).argmin()]


def ink_on(grey: Page, sheet: Mask) -> Page:
    """Computes 1 - grey / paper, with the paper estimated around each pixel, which removes light and shadow."""
    small = _small(grey, 250) + 1
    on = _small(sheet.astype(np.float32), 250) > 0.99
    around = ndimage.grey_closing(small, unit(small, 0.25))
    if (small < 0.7 * around)[on].mean() < 0.06:  # wider than any stroke, but not than the tip of a shadow
        around = ndimage.grey_closing(small, unit(small, 0.12))
    bare = (small > 0.85 * around) & on
    bare = ndimage.binary_erosion(bare, iterations=2, border_value=1).astype(np.float32)
    spread = unit(small, 0.025)
    weight = ndimage.gaussian_filter(bare, spread)
    paper = ndimage.gaussian_filter(small * bare, spread) / np.maximum(weight, 0.02)
    paper = np.where(weight > 0.02, paper, around)
    paper = _resized(paper, grey.shape)
    return (paper - grey - 1) / np.maximum(paper, 80)


def _resized(page: NDArray[np.generic], shape: tuple[int, ...]) -> Page:
    from PIL import Image

    return np.asarray(Image.fromarray(page.astype(np.float32)).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def enlarge(grey: Page, factor: int) -> Page:
    """Enlarges a small page [height, width] by a whole factor, smoothly."""
    from PIL import Image

    size = (grey.shape[1] * factor, grey.shape[0] * factor)
    large = Image.fromarray(grey.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.clip(np.asarray(large), grey.min(), grey.max())


def noise_level(ink: Page, sheet: Mask, factor: int = 1) -> float:
    """Returns the ink level above the noise of the paper.

    Args:
        ink: The ink, [height, width].
        sheet: The paper.
        factor: By which the page was enlarged, so that neighbours are this far apart. The lower quartile of their
            differences is then used, because a digit may fill half of a small page.
    """
    steps = np.abs(ink[:, factor:] - ink[:, :-factor])[sheet[:, factor:]]
    if factor == 1:
        return max(LEAST_INK, 5 * 1.05 * float(np.median(steps)))
    # The lower quartile is half the median, and smaller again between the enlarged pixels.
    return min(0.6, max(LEAST_INK, 5 * 3.2 * float(np.percentile(steps, 25))))
