"""Where on a page ink lies, and which of it is a digit; on the ground floor, for ``digits`` alone.

Lengths are in parts of the page's shorter side where nothing else is said, ink is 1 - grey / paper.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull

from cnn_mnist.errors import UserError

Page = NDArray[np.floating]
Mask = NDArray[np.bool_]

LEAST_CONTRAST = 0.08
"""Ink under which a page is blank."""

MOST_PIECES = 60
"""Of ink on a page with digits; more are text, noise or dirt."""

FLOOR = 0.4
"""Part of a digit's ink under which a pixel is paper."""


class Piece(NamedTuple):
    """A digit on a page.

    Attributes:
        ink: [height, width] of its box, 0 where there is other ink.
        box: Its rows and columns on the page.
        rims: How many of the page's four sides it reaches.
    """

    ink: Page
    box: tuple[slice, slice]
    rims: int


def find_pieces(grey: Page, invert: bool | None = None) -> list[Piece]:
    """The digits of a page in reading order.

    Args:
        grey: [height, width], 0 (black) to 255 (white).
        invert: Whether ink is darker than paper; None to tell from the page.

    Raises:
        UserError: There is none; the message says what there is.
    """
    sheet = _sheet(grey) if invert is None else None
    if sheet is None:
        sheet = np.ones(grey.shape, bool)
        grey = grey if (_dark_ink(grey) if invert is None else invert) else 255 - grey
    ink = _ink(grey, sheet)
    level = _level(ink, sheet)
    ink = np.where(sheet, _without_lines(np.where(sheet, ink, 0), sheet, level), 0)
    return _pieces(ink, sheet, level)


def _unit(page: NDArray[np.generic], part: float) -> int:
    return max(1, round(part * min(page.shape)))


def _small(page: Page, side: int) -> Page:
    """The page with a shorter side of about ``side``, averaged."""
    from PIL import Image

    return np.asarray(Image.fromarray(page).reduce(max(1, min(page.shape) // side)))


def _dark_ink(grey: Page) -> bool:
    """Whether the page departs from its border, light that falls off aside, more downwards than upwards."""
    level = _small(grey, 100)
    level = level - ndimage.gaussian_filter(level, _unit(level, 0.3))
    paper = np.median(np.concatenate([level[0], level[-1], level[:, 0], level[:, -1]]))
    return bool(level.max() - paper < paper - level.min())


def _sheet(grey: Page) -> Mask | None:
    """A sheet without its rim, where one lies on something darker: sharp edges bound it, which shadows have not."""
    small = _small(grey, 200)
    level = np.log(small + 8)
    smooth = ndimage.maximum_filter(level, 3) - ndimage.minimum_filter(level, 3) < 0.3
    labels, _ = ndimage.label(smooth)
    rim = np.pad(np.zeros([side - 2 for side in small.shape], bool), 1, constant_values=True)
    for number in np.flatnonzero(np.bincount(labels.ravel()) > 0.1 * labels.size):
        filled = ndimage.binary_fill_holes(labels == number)
        if number and filled.mean() > 0.15 and filled[rim].mean() < 0.6:
            inner = ndimage.binary_erosion(filled, iterations=2)
            nearest = ndimage.distance_transform_edt(~inner, return_distances=False, return_indices=True)
            if (small < 0.75 * small[tuple(nearest)])[rim & ~filled].mean() > 0.8:
                return _resized(inner, grey.shape) > 0.5
    return None


def _ink(grey: Page, sheet: Mask) -> Page:
    """1 - grey / paper, the paper told from what lies around each pixel, so that light and shadow fall out."""
    small = _small(grey, 250) + 1
    on = _small(sheet.astype(np.float32), 250) > 0.99
    around = ndimage.grey_closing(small, _unit(small, 0.25))
    if (small < 0.7 * around)[on].mean() < 0.06:  # no stroke is wider than half of that, but a shadow's tip may be
        around = ndimage.grey_closing(small, _unit(small, 0.12))
    bare = (small > 0.85 * around) & on
    bare = ndimage.binary_erosion(bare, iterations=2, border_value=1).astype(np.float32)
    spread = _unit(small, 0.025)
    weight = ndimage.gaussian_filter(bare, spread)
    paper = ndimage.gaussian_filter(small * bare, spread) / np.maximum(weight, 0.02)
    paper = np.where(weight > 0.02, paper, around)
    paper = _resized(paper, grey.shape)
    return (paper - grey - 1) / np.maximum(paper, 80)


def _resized(page: NDArray[np.generic], shape: tuple[int, ...]) -> Page:
    from PIL import Image

    return np.asarray(Image.fromarray(page.astype(np.float32)).resize((shape[1], shape[0]), Image.Resampling.BILINEAR))


def _level(ink: Page, sheet: Mask) -> float:
    """Ink that is more than the paper's noise."""
    return max(LEAST_CONTRAST, 5 * 1.05 * float(np.median(np.abs(np.diff(ink, axis=1)[sheet[:, 1:]]))))


def _without_lines(ink: Page, sheet: Mask, level: float) -> Page:
    """Without the thin lines that cross the page, level or upright; a stroke that one crosses is mended."""
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


class _Line(NamedTuple):
    """A printed line: its row at each of its columns, and half its thickness in pixels."""

    centre: NDArray[np.int_]
    columns: NDArray[np.int_]
    half: int
    height: int

    def band(self, more: int) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Its pixels, and so many rows more on both sides."""
        reach = np.arange(-self.half - more, self.half + more + 1)[:, None]
        return np.clip(self.centre + reach, 0, self.height - 1), np.broadcast_to(
            self.columns, (len(reach), len(self.columns))
        )

    def beyond(self, page: Page) -> Page:
        """The ink that lies on both sides of each of its columns, or up to its thickness beside it."""
        rows = np.clip(self.centre + np.array([[-self.half - 1], [self.half + 1]]), 0, self.height - 1)
        return ndimage.maximum_filter1d(page[rows, self.columns], 2 * self.half + 1, axis=1).min(axis=0)


def _lines(ink: Page, sheet: Mask, level: float) -> list[_Line]:
    """Level lines up to 15 degrees off, told by a Hough transform of what is thin from top to bottom."""
    dark = (ink > level).astype(np.int8)
    high = _unit(ink, 0.015)
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
    while len(lines) < 200 and counts.max(initial=0) >= 0.15 * width:
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


def _pieces(ink: Page, sheet: Mask, level: float) -> list[Piece]:
    """What of the ink is a digit; where nothing is, the error says what the largest piece is."""
    ink = ndimage.gaussian_filter(ink, min(ink.shape) / 1000)
    labels, count = ndimage.label(ink > level, np.ones((3, 3)))
    if not count:
        raise UserError(f"expected a digit, got a blank page (its ink is {max(ink.max(), 0):.0%} darker than paper)")
    mass = ndimage.sum_labels(ink**2, labels, range(1, count + 1))
    dark = ink > FLOOR * np.percentile(ink[labels == 1 + np.argmax(mass)], 95)
    reach = _unit(ink, 0.008)
    labels, count = ndimage.label(ndimage.maximum_filter(dark.astype(np.int8), 2 * reach + 1), np.ones((3, 3)))
    labels[~dark] = 0
    areas = ndimage.sum_labels(dark, labels, range(1, count + 1))
    boxes = ndimage.find_objects(labels)
    large = np.flatnonzero(areas > 0.004 * areas.max())
    if len(large) > MOST_PIECES:
        raise UserError(f"expected a digit, got {len(large)} pieces of ink; cut out the digit if there is one")
    kept = [i for i in large if not _frame(labels[boxes[i]] == i + 1)]
    if not kept:
        raise UserError("expected a digit, got an empty frame")
    groups = _groups([boxes[i] for i in kept], areas[kept])
    if sum(areas[kept[i]] for group in groups for i in group) < 0.4 * areas[kept].sum() or len(groups) > 12:
        raise UserError(f"expected a digit, got {count} pieces of ink; cut out the digit if there is one")
    pieces, doubts = [], []
    for group in groups:
        numbers = [kept[i] + 1 for i in group]
        own = [boxes[number - 1] for number in numbers]
        rows, columns = (
            slice(min(box[axis].start for box in own), max(box[axis].stop for box in own)) for axis in (0, 1)
        )
        mine = np.where(np.isin(labels[rows, columns], numbers), ink[rows, columns], 0)
        piece = Piece(mine, (rows, columns), _rims((rows, columns), sheet))
        doubt = _doubt(piece, min(ink.shape))
        pieces += [] if doubt else [piece]
        doubts.append(doubt)
    if not pieces:
        raise UserError(f"expected a digit, got {doubts[0]}")
    return pieces


def _doubt(piece: Piece, page: int) -> str:
    """What a piece is when it is no digit; the page's shorter side in pixels."""
    mask = piece.ink > 0
    if max(mask.shape) < 0.025 * page:
        return f"specks of at most {max(mask.shape)} pixels of {page}"
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    if np.bincount(labels.ravel())[1:].max() < 0.2 * mask.sum():
        return "noise"
    places = np.argwhere(mask).astype(np.float32)
    _, spread, axes = np.linalg.svd(places[:: max(1, len(places) // 2000)] - places.mean(axis=0), full_matrices=False)
    if spread[1] < 0.1 * spread[0] and (piece.rims > 1 or abs(axes[0, 0]) < 0.5):
        return "a line"
    if piece.rims > 2 and stroke_width(mask) < 0.04 * max(mask.shape):
        return "lines to every edge"
    smooth = ndimage.gaussian_filter(piece.ink, 0.004 * page)
    soft = np.percentile(np.hypot(*np.gradient(smooth))[mask], 95) < 0.1 * smooth.max()
    return "a shadow" if soft and smooth.max() < 0.25 else ""


def _rims(box: tuple[slice, slice], sheet: Mask) -> int:
    """How many of a sheet's four sides a box reaches."""
    sides = 0
    for axis in (0, 1):
        there = np.flatnonzero(sheet.any(axis=1 - axis))
        near = 0.02 * len(there)
        sides += int(box[axis].start - there[0] < near) + int(there[-1] + 1 - box[axis].stop < near)
    return sides


def stroke_width(mask: Mask) -> float:
    """Pixels across a stroke, on average: four times the mean distance to its edge."""
    return 4 * float(ndimage.distance_transform_edt(np.pad(mask, 1)).sum() / mask.sum()) - 1


def _frame(mask: Mask) -> bool:
    """Whether a piece is the frame of a cell: its convex hull is a rectangle and its ink lies along it."""
    if min(mask.shape) < 8:
        return False
    places = np.argwhere(mask)
    hull = ConvexHull(places, qhull_options="QJ")
    turns = np.deg2rad(np.arange(-45, 45))
    corners = places[hull.vertices]
    sides = np.stack(
        [
            np.ptp(corners @ np.stack([np.cos(turns), np.sin(turns)]), axis=0),
            np.ptp(corners @ np.stack([-np.sin(turns), np.cos(turns)]), axis=0),
        ]
    )
    sides = sides[:, sides.prod(axis=0).argmin()]
    inwards = -(places @ hull.equations[:, :2].T + hull.equations[:, 2]).max(axis=1)
    along = np.mean(inwards < 0.08 * sides.min())
    return bool(hull.volume > 0.9 * sides.prod() and along > 0.95 and stroke_width(mask) < 0.2 * sides.min())


def _groups(boxes: list[tuple[slice, slice]], areas: NDArray[np.floating]) -> list[list[int]]:
    """Which pieces of ink make up a digit, in reading order; specks are in none."""
    low, high = (np.array([[getattr(side, end) for side in box] for box in boxes]) for end in ("start", "stop"))
    sides, largest = high - low, int(np.argmax(areas))
    unit = sides[largest].max()
    gaps = np.maximum(low[:, None], low) - np.minimum(high[:, None], high)  # below 0 where two overlap
    away = np.hypot(*np.moveaxis(np.maximum(gaps, 0), 2, 0)) / unit
    # Two large pieces are two digits where they stand side by side, or far above one another.
    beside = gaps[..., 1] > -0.3 * np.minimum(sides[:, None, 1], sides[:, 1])
    apart = away > np.where(beside, 0.1, 0.5)
    large = (sides[:, 0] > 0.5 * unit) & (areas > 0.15 * areas[largest])
    large[largest] = True
    groups: list[list[int]] = []
    for i in map(int, np.argsort(-areas)):
        if large[i]:
            near = next((group for group in groups if not apart[i, group].all()), None)
            groups.append([i]) if near is None else near.append(i)
    for i in map(int, np.flatnonzero(~large)):
        near = min(groups, key=lambda group: away[i, group].min())
        if away[i, near].min() < 0.25:
            near.append(i)
    groups.sort(key=lambda group: low[group[0], 0] + high[group[0], 0])
    middles = np.array([low[group[0], 0] + high[group[0], 0] for group in groups]) / 2
    lines = np.cumsum(np.diff(middles, prepend=middles[0]) > 0.5 * unit)
    return [groups[i] for i in np.lexsort(([low[group[0], 1] for group in groups], lines))]
