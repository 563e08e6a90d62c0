"""Reads pictures: digits as images like MNIST's, other pictures at the size of a network's input."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from cnn_mnist.data.digits.files import FORMATS, PHONE, read_pages
from cnn_mnist.data.digits.page import Page
from cnn_mnist.data.digits.pieces import Piece, find_pieces, stroke_width
from cnn_mnist.data.digits.small import FAINT, SMALL, find_drawn
from cnn_mnist.data.splits import MOST_VIEWS, Digits, View
from cnn_mnist.errors import UserError, notify

SIDE, BOX, MIDDLE = 28, 20, 14
"""MNIST's image side, the box that its digits are scaled to, and the pixel of their centre of mass (LeCun)."""

STROKE = 0.11
"""MNIST's stroke width as a fraction of the digit's longer side; thinner strokes are widened to it."""

_READ = 800  # pixels: a photo is averaged down to a longer side between this and its double, which removes noise
_TINY, _TINY_DRAWN = 24, 10  # pixels: a lower digit is too small, in a photo and in a small picture
_SMOOTH, _SOFT = 1.0, 0.3  # standard deviations: of a stroke's edge in pixels, of MNIST's ink in its pixels


class Found(NamedTuple):
    """A digit in a picture.

    Attributes:
        image: uint8 [28, 28], background 0, brightest pixel 255.
        box: Rows and columns in the picture.
        warnings: Reasons to doubt the reading.
    """

    image: NDArray[np.uint8]
    box: tuple[slice, slice]
    warnings: Sequence[str] = ()


def read_digits(
    paths: Sequence[str | Path], invert: bool | None = None, shape: tuple[int, ...] = (SIDE, SIDE, 1)
) -> Digits:
    """Reads pictures and folders of pictures, with a ``UserNotice`` for each unreadable or doubtful one.

    Args:
        paths: Files, and folders whose pictures are read in the order of their names.
        invert: Whether ink is darker than paper; None to detect it for each picture.
        shape: (height, width, channels) of the network's input. For MNIST's, digits are searched in the picture;
            otherwise the whole picture is scaled.

    Returns:
        The images, with the named files, and pages of them, that could not be read. ``photo.tif[2]`` is a page of a
        file with several, ``photo.png[2]`` one of several digits, ``photo.tif[2][0]`` both; all count from 0.

    Raises:
        UserError: No image could be read.
    """
    names, images, notices = list[str](), list[NDArray[np.uint8]](), list[str]()
    views, unreadable = list[View](), list[str]()
    for path in map(Path, paths):
        for file in _inside(path, notices) if path.is_dir() else [path]:
            for name, page in read_pages(file, _READ, None if shape == (SIDE, SIDE, 1) else shape):
                try:
                    if isinstance(page, UserError):
                        raise page
                    if shape != (SIDE, SIDE, 1):
                        names.append(name)
                        images.append(255 - page if invert else page)
                        continue
                    found = find_digits(page, invert)
                except UserError as error:
                    notices.append(f"{name}: {error}")
                    unreadable += [name] * (file == path)
                    continue
                for number, digit in enumerate(found):
                    names.append(f"{name}[{number}]" if len(found) > 1 else name)
                    images.append(digit.image[..., None])
                    notices += [f"{names[-1]}: {warning}" for warning in digit.warnings]
                    if len(views) < MOST_VIEWS:
                        views.append((page.astype(np.uint8), digit.box))
    if not images and len(notices) == 1:
        raise UserError(notices[0])
    for notice in notices:
        notify(notice)
    if not images:
        raise UserError("expected a readable picture, got none; see the warnings")
    return Digits(names, np.stack(images), views=views, unreadable=unreadable)


def _inside(folder: Path, notices: list[str]) -> Iterator[Path]:
    """Yields the pictures of a folder by name, and adds a notice about subfolders or an empty folder."""
    before = len(notices)
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in (*FORMATS, *PHONE)]
    notices += [f"{path}: subfolders are read only if named" for path in folder.iterdir() if path.is_dir()]
    if not files and len(notices) == before:
        notices.append(f"expected a folder with {', '.join(FORMATS)} files, got {folder}, which has none")
    yield from files


def find_digits(grey: Page, invert: bool | None = None) -> list[Found]:
    """Finds the digits of a picture in reading order, and scales, centres and stretches them like MNIST's.

    An image of MNIST hardly changes.

    Args:
        grey: float32 [height, width], any size, 0 (black) to 255 (white).
        invert: Whether ink is darker than paper; None to detect it.

    Raises:
        UserError: The picture has no digit; the message says what it has.
    """
    if max(grey.shape) <= SMALL:
        drawn = find_drawn(grey, invert)
        return [Found(_centred(_kept(p.ink, grey.shape)), p.box, _warnings(p, _TINY_DRAWN)) for p in drawn]
    return [Found(_centred(_inked(piece)), piece.box, _warnings(piece, _TINY)) for piece in find_pieces(grey, invert)]


def _warnings(piece: Piece, least: int) -> list[str]:
    """Returns the reasons to doubt a digit; ``least`` is its minimum height in pixels."""
    high, wide = piece.ink.shape
    found = ["the digit reaches the edge of the page; is it whole?"] if piece.rims else []
    found += [f"the digit is {high} pixels high; move closer"] if high < least else []
    return found + (["the digit is very wide; are there two?"] if wide > 1.5 * high else [])


def _inked(piece: Piece) -> Page:
    """Redraws a digit with MNIST's stroke width, [height, width] from 0 to 1."""
    mask = np.pad(piece.ink > 0, 4)
    smooth = ndimage.gaussian_filter(mask.astype(np.float32), _SMOOTH) > 0.5
    mask, side = smooth if smooth.any() else mask, max(piece.ink.shape)
    more = max(0.0, (STROKE * side - stroke_width(mask)) / 2)
    margin = int(more + _SOFT * side / BOX) + 2
    away = ndimage.distance_transform_edt(np.pad(~mask, margin, constant_values=True))
    ink = ndimage.gaussian_filter(np.clip(more + 1.5 - away, 0, 1).astype(np.float32), _SOFT * side / BOX)
    (box,) = ndimage.find_objects((ink > FAINT).astype(np.int8))
    return _scaled(ink[box])


def _kept(ink: Page, picture: tuple[int, ...]) -> Page:
    """Scales the digit of a small picture, unless both have MNIST's size, which scaling would only blur."""
    if picture == (SIDE, SIDE) and max(ink.shape) <= BOX:
        return ink
    ink = _scaled(ink)
    return np.where(ink < FAINT * ink.max(), 0, ink)


def _scaled(ink: Page) -> Page:
    """Scales ink to a longer side of 20 pixels."""
    from PIL import Image

    height, width = (max(1, round(BOX * side / max(ink.shape))) for side in ink.shape)
    return np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BOX))


def _centred(ink: Page) -> NDArray[np.uint8]:
    """Places ink of at most 28 x 28 pixels in MNIST's image, by its centre of mass."""
    image = np.zeros((SIDE, SIDE))
    image[_middle(ink.sum(axis=1)), _middle(ink.sum(axis=0))] = ink
    return np.round(image * (255 / image.max())).astype(np.uint8)


def _middle(mass: NDArray[np.floating]) -> slice:
    """Returns the slice of a box along an axis that centres its mass as far as the image has room."""
    centre = (mass @ np.arange(len(mass))) / mass.sum()
    start = int(np.clip(round(MIDDLE - centre), 0, SIDE - len(mass)))
    return slice(start, start + len(mass))
