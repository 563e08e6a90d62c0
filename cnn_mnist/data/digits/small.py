"""Finds the digits of a small picture, such as the cell of a form, which keep its grey levels."""

import numpy as np
from scipy import ndimage

from cnn_mnist.data.digits.lines import inside_frame
from cnn_mnist.data.digits.page import Mask, Page, enlarge
from cnn_mnist.data.digits.pieces import Piece, find_pieces
from cnn_mnist.errors import UserError

SMALL = 100
"""Longer side in pixels up to which a picture is small."""

FAINT = 0.2
"""Fraction of a digit's contrast below which a pixel of a small picture is paper."""

LEAST_CONTRAST = 16
"""A small picture with a smaller contrast, of 255 grey levels, is blank."""

_LARGE = 200  # pixels: about the longer side of the enlarged picture in which the digits are found
_EDGE = 0.15  # of a digit's longer side: its faint ink reaches so far


def find_drawn(grey: Page, invert: bool | None) -> list[Piece]:
    """Finds the digits within the picture's border lines, in reading order.

    Args:
        grey: [height, width], at most ``SMALL``, 0 (black) to 255 (white).
        invert: Whether ink is darker than paper; None to detect it.

    Returns:
        The digits; their ink is in grey levels.

    Raises:
        UserError: The picture has no digit; the message says what it has.
    """
    inner = inside_frame(grey, invert)
    top, left = (side.start for side in inner)
    grey = grey[inner]
    noise = 2.2 * np.percentile(np.abs(np.diff(grey, axis=1)), 25)  # standard deviation, also if half of it is ink
    if (contrast := np.ptp(grey)) < max(LEAST_CONTRAST, min(10 * noise, 100)):
        raise UserError(f"expected a digit, got a blank image (ink of {contrast:.0f} of 255 grey levels)")
    factor = _LARGE // max(grey.shape)
    large = enlarge(grey, factor)
    border = np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    dark_ink = bool(grey.max() - border < border - grey.min()) if invert is None else invert
    if (border < (grey.max() + grey.min()) / 2) == dark_ink:  # the digit fills the picture
        pieces = [Piece(np.ones_like(large), (slice(0, large.shape[0]), slice(0, large.shape[1])), rims=4)]
    else:
        pieces = find_pieces(large, dark_ink, factor)
    cores = [_pixels(piece, grey.shape, factor) for piece in pieces]
    away, nearest = ndimage.distance_transform_edt(~np.logical_or.reduce(cores), return_indices=True)
    reaches = [2 + _EDGE * max(piece.ink.shape) / factor for piece in pieces]
    masks = [core[tuple(nearest)] & (away < reach) for core, reach in zip(cores, reaches, strict=True)]
    bare = grey[~np.logical_or.reduce(masks)]
    paper = np.median(bare) if bare.size else grey.max() if dark_ink else grey.min()
    ink = np.maximum(paper - grey if dark_ink else grey - paper, 0)
    drawn = []
    for piece, mask in zip(pieces, masks, strict=True):
        mine = np.where(mask, ink, 0)
        ((rows, columns),) = ndimage.find_objects((mine > FAINT * mine.max()).astype(np.int8))
        box = slice(top + rows.start, top + rows.stop), slice(left + columns.start, left + columns.stop)
        drawn.append(Piece(mine[rows, columns], box, piece.rims))
    return drawn


def _pixels(piece: Piece, shape: tuple[int, ...], factor: int) -> Mask:
    """Returns the pixels of a picture of this shape where a piece of the enlarged picture has ink."""
    large = np.zeros([side * factor for side in shape], bool)
    large[piece.box] = piece.ink > 0
    return np.asarray(large.reshape(shape[0], factor, shape[1], factor).any(axis=(1, 3)))
