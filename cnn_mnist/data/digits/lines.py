"""Removes printed lines from a page's ink."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cnn_mnist.data.digits.page import Mask, Page, unit

_TRIES = 200
"""Largest number of candidate lines; squared paper has 40, noise any number."""

_FRAME = 0.15
"""Fraction of a small picture's side within which a line along the edge is its frame."""


def without_lines(ink: Page, sheet: Mask, level: float) -> Page:
    """Removes thin horizontal and vertical lines across the page, and repairs the strokes that they cross."""
    level_ones = _lines(ink, sheet, level)
    upright = _lines(ink.T, sheet.T, level)
    clear = ink.copy()
    for page, origin, lines in ((clear, ink, level_ones), (clear.T, ink.T, upright)):
        for line in lines:
            rows, columns = line.band(0)
            band = origin[rows, columns]
            page[rows, columns] = np.where(band > 1.4 * np.median(band.max(axis=0)), band, 0)
    for page, lines in ((clear, level_ones), (clear.T, upright)):
        for line in lines:
            page[line.band(0)] = np.maximum(page[line.band(0)], line.beyond(page))
    return clear


def inside_frame(grey: Page, invert: bool | None) -> tuple[slice, slice]:
    """Returns the rows and columns of a small picture within the lines along its edges, as of a cell.

    Args:
        grey: The picture, [height, width].
        invert: Whether ink is darker than paper; None if unknown.
    """
    counts, edges = np.histogram(grey, 16)
    most = int(np.argmax(counts[:-1] + counts[1:]))  # a digit may fill more than half, but in many levels
    paper = np.median(grey[(grey >= edges[most]) & (grey <= edges[most + 2])])
    away = grey - paper
    away = np.abs(away) if invert is None else -away if invert else away
    dark = away > 0.2 * np.ptp(grey)
    sides = []
    for across in (dark, dark.T):
        # A line may be tilted by a pixel.
        full = ndimage.maximum_filter1d(across, 2, axis=0).mean(axis=1) > 0.9
        reach = round(_FRAME * len(full))
        first = np.flatnonzero(full[:reach]).max(initial=-2) + 2
        last = len(full) - np.flatnonzero(full[::-1][:reach]).max(initial=-2) - 2
        sides.append(slice(int(first), int(last)))
    return sides[0], sides[1]


class _Line(NamedTuple):
    """A printed line: its row at each of its columns, and half its thickness in pixels."""

    centre: NDArray[np.int_]
    columns: NDArray[np.int_]
    half: int
    height: int

    def band(self, more: int) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Returns its pixels, and ``more`` rows on both sides."""
        reach = np.arange(-self.half - more, self.half + more + 1)[:, None]
        rows = np.clip(self.centre + reach, 0, self.height - 1)
        return rows, np.broadcast_to(self.columns, rows.shape)

    def beyond(self, page: Page) -> Page:
        """Returns the ink on both sides of each of its columns, searched within its thickness."""
        rows = np.clip(self.centre + np.array([[-self.half - 1], [self.half + 1]]), 0, self.height - 1)
        return ndimage.maximum_filter1d(page[rows, self.columns], 2 * self.half + 1, axis=1).min(axis=0)


def _lines(ink: Page, sheet: Mask, level: float) -> list[_Line]:
    """Finds lines within 15 degrees of horizontal by a Hough transform of vertically thin ink."""
    dark = (ink > level).astype(np.int8)
    high = unit(ink, 0.015)
    thin = dark & ~ndimage.maximum_filter1d(ndimage.minimum_filter1d(dark, high, axis=0), high, axis=0)
    change = np.diff(thin.T, axis=1, prepend=0, append=0)
    (columns, first), (_, last) = np.nonzero(change == 1), np.nonzero(change == -1)
    middle, thick = (first + last - 1) / 2, last - first
    slopes = np.tan(np.deg2rad(np.arange(-15, 15.1, 0.25)))
    width, reach = ink.shape[1], int(len(ink) + 0.3 * ink.shape[1])

    def votes(of: NDArray[np.bool_]) -> NDArray[np.int_]:
        offsets = (middle[of] - slopes[:, None] * (columns[of] - width / 2) + 0.15 * width) / 2
        cells = np.clip(offsets.astype(int), 0, reach // 2) + (reach // 2 + 1) * np.arange(len(slopes))[:, None]
        return np.bincount(cells.ravel(), minlength=(reach // 2 + 1) * len(slopes))

    free = np.ones(len(columns), bool)
    counts = votes(free)
    lines: list[_Line] = []
    for _ in range(_TRIES):
        if counts.max(initial=0) < 0.15 * width:
            break
        cell = int(counts.argmax())
        counts[cell] = 0
        slope, offset = slopes[cell // (reach // 2 + 1)], 2 * (cell % (reach // 2 + 1)) + 1 - 0.15 * width
        curve = np.polynomial.Polynomial([offset - slope * width / 2, slope])
        for degree in (1, 2):
            mine = free & (np.abs(middle - curve(columns)) <= 2 + degree)
            if mine.sum() < 0.1 * width:
                break
            curve = np.polynomial.Polynomial.fit(columns[mine], middle[mine], degree)
        mine = free & (np.abs(middle - curve(columns)) <= 2)
        every = np.arange(width)
        centre = np.round(curve(every)).astype(int)
        on = (centre >= 0) & (centre < len(ink))
        on[on] = sheet[centre[on], every[on]]
        if on.sum() < 0.15 * width or len(np.unique(columns[mine])) < 0.5 * on.sum():
            continue
        counts -= votes(mine)
        free &= ~mine
        lines.append(_Line(centre[on], every[on], int(np.median(thick[mine])) // 2 + 1, len(ink)))
    return lines
