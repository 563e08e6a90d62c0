"""Finds the digits in a page's ink, in reading order."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import QhullError

from cnn_mnist.data.digits.lines import without_lines
from cnn_mnist.data.digits.page import Mask, Page, find_sheet, ink_on, is_dark_ink, least_rectangle, noise_level, unit
from cnn_mnist.errors import UserError

MOST_PIECES = 60
"""Limit for a page with digits; more pieces are text, noise or dirt."""

FLOOR = 0.4
"""Fraction of a digit's ink below which a pixel is paper."""

_THINNEST = 3  # pixels: a thinner picture is all rim
_SPECK, _SPECK_DRAWN = 0.025, 0.15  # of the page's shorter side, in a photo and in a small picture


class Piece(NamedTuple):
    """A digit on a page.

    Attributes:
        ink: Ink in its box, [height, width], without other ink.
        box: Rows and columns of the box on the page.
        rims: Number of the page's four sides that it touches.
    """

    ink: Page
    box: tuple[slice, slice]
    rims: int


def find_pieces(grey: Page, invert: bool | None = None, factor: int = 1) -> list[Piece]:
    """Finds the digits of a page, in reading order.

    Args:
        grey: [height, width], 0 (black) to 255 (white).
        invert: Whether ink is darker than paper; None to detect it.
        factor: By which the page was enlarged.

    Raises:
        UserError: The page has no digit; the message says what it has.
    """
    if min(grey.shape) < _THINNEST:
        raise UserError(f"expected a digit, got a strip of {grey.shape[1]} x {grey.shape[0]} pixels")
    sheet = find_sheet(grey) if invert is None and factor == 1 else None
    if sheet is None:
        sheet = np.ones(grey.shape, bool)
        grey = grey if (is_dark_ink(grey) if invert is None else invert) else 255 - grey
    ink = ink_on(grey, sheet)
    level = noise_level(ink, sheet, factor)
    ink = np.where(sheet, ink, 0)
    if factor == 1:  # a stroke in a small picture is as straight and as long as a line
        ink = np.where(sheet, without_lines(ink, sheet, level), 0)
    return _pieces(ink, sheet, level, _SPECK if factor == 1 else _SPECK_DRAWN)


def _pieces(ink: Page, sheet: Mask, level: float, speck: float) -> list[Piece]:
    """Selects the digits from the ink; if there is none, the error describes the largest piece."""
    ink = ndimage.gaussian_filter(ink, min(ink.shape) / 1000)
    labels, count = ndimage.label(ink > level, np.ones((3, 3)))
    if not count:
        raise UserError(f"expected a digit, got a blank page (its ink is {max(ink.max(), 0):.0%} darker than paper)")
    mass = ndimage.sum_labels(ink**2, labels, range(1, count + 1))
    dark = ink > FLOOR * np.percentile(ink[labels == 1 + np.argmax(mass)], 95)
    reach = unit(ink, 0.008)
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
    pieces, reasons = [], []
    for group in groups:
        numbers = [kept[i] + 1 for i in group]
        own = [boxes[number - 1] for number in numbers]
        rows, columns = (
            slice(min(box[axis].start for box in own), max(box[axis].stop for box in own)) for axis in (0, 1)
        )
        mine = np.where(np.isin(labels[rows, columns], numbers), ink[rows, columns], 0)
        piece = Piece(mine, (rows, columns), _rims((rows, columns), sheet))
        reason = _rejection_reason(piece, min(ink.shape), speck)
        pieces += [] if reason else [piece]
        reasons.append(reason)
    if not pieces:
        raise UserError(f"expected a digit, got {reasons[0]}")
    return pieces


def _rejection_reason(piece: Piece, page: int, speck: float) -> str:
    """Returns what a piece is instead of a digit; an empty string for a digit.

    Args:
        piece: The piece of ink.
        page: The page's shorter side in pixels.
        speck: Fraction of that side below which a piece is a speck.
    """
    mask = piece.ink > 0
    if max(mask.shape) < speck * page:
        return f"specks of at most {max(mask.shape)} pixels of {page}"
    reach = 1 + page // 250  # bridges the gaps of a pencil
    labels, _ = ndimage.label(ndimage.maximum_filter(mask.astype(np.int8), 2 * reach + 1), np.ones((3, 3)))
    labels *= mask
    if np.bincount(labels.ravel())[1:].max() < 0.2 * mask.sum():
        return "noise"
    places = np.argwhere(mask).astype(np.float32)
    _, spread, axes = np.linalg.svd(places[:: max(1, len(places) // 2000)] - places.mean(axis=0), full_matrices=False)
    if spread[1] < 0.1 * spread[0] and (piece.rims > 1 or abs(axes[0, 0]) < 0.5):
        return "a line"
    if piece.rims > 2 and stroke_width(mask) < 0.04 * max(mask.shape):
        return "lines to every edge"
    smooth = ndimage.gaussian_filter(piece.ink, 0.004 * page)
    slopes = np.hypot(*np.gradient(np.pad(smooth, 1, mode="edge")))[1:-1, 1:-1]
    soft = np.percentile(slopes[mask], 95) < 0.1 * smooth.max()
    return "a shadow" if soft and smooth.max() < 0.25 else ""


def _rims(box: tuple[slice, slice], sheet: Mask) -> int:
    """Counts the sheet's sides that a box touches."""
    sides = 0
    for axis in (0, 1):
        there = np.flatnonzero(sheet.any(axis=1 - axis))
        near = 0.02 * len(there)
        sides += int(box[axis].start - there[0] < near) + int(there[-1] + 1 - box[axis].stop < near)
    return sides


def stroke_width(mask: Mask) -> float:
    """Returns the mean stroke width in pixels: four times the mean distance to the edge."""
    return 4 * float(ndimage.distance_transform_edt(np.pad(mask, 1)).sum() / mask.sum()) - 1


def _frame(mask: Mask) -> bool:
    """Returns whether a piece is the frame of a cell: a rectangular hull with all ink along it."""
    if min(mask.shape) < 8:
        return False
    places = np.argwhere(mask)
    try:
        hull, sides = least_rectangle(places)
    except QhullError:  # a straight line
        return False
    inwards = -(places @ hull.equations[:, :2].T + hull.equations[:, 2]).max(axis=1)
    along = np.mean(inwards < 0.08 * sides.min())
    return bool(hull.volume > 0.9 * sides.prod() and along > 0.95 and stroke_width(mask) < 0.2 * sides.min())


def _groups(boxes: list[tuple[slice, slice]], areas: NDArray[np.floating]) -> list[list[int]]:
    """Groups pieces of ink to digits, in reading order, without specks."""
    low, high = (np.array([[getattr(side, end) for side in box] for box in boxes]) for end in ("start", "stop"))
    sides, largest = high - low, int(np.argmax(areas))
    unit = sides[largest].max()
    gaps = np.maximum(low[:, None], low) - np.minimum(high[:, None], high)  # below 0 where two overlap
    away = np.hypot(*np.moveaxis(np.maximum(gaps, 0), 2, 0)) / unit
    # Two large pieces are two digits if they are next to each other or far above one another.
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
