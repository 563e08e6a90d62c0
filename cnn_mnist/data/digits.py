"""The user's own digits: picture files to images like MNIST's."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.errors import UserError, UserNotice

ENDINGS = (".png", ".jpg", ".jpeg")
"""What is read from a folder."""

SIDE, BOX, MIDDLE = 28, 20, 14
"""MNIST's image, the box its digits are scaled to, and the pixel its centres of mass lie on (LeCun, and so it is)."""

FLOOR = 0.2
"""Part of the contrast under which a pixel is paper."""

LEAST_CONTRAST = 16
"""Grey levels of 255 under which a picture is blank."""

_LONGEST_SIDE = 10 * SIDE  # a photo is averaged down to it first, which takes its noise away


class Digits(NamedTuple):
    """What is predicted, in the order of the command line or of the test set.

    Attributes:
        files: Path of each image, or its number in the test set.
        images: uint8 [n, 28, 28], 0 is background.
        labels: uint8 [n], 0 to 9, where they are known.
    """

    files: list[str]
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8] | None = None


def read_digits(paths: Sequence[str | Path], invert: bool | None = None) -> Digits:
    """Reads PNG and JPEG files and folders of them, with a ``UserNotice`` for each that cannot be read.

    Args:
        paths: Files, and folders whose images are taken by name.
        invert: Whether ink is darker than paper; None to tell from each image's border.

    Raises:
        UserError: None could be read.
    """
    files, images, refusals = list[str](), list[NDArray[np.uint8]](), list[str]()
    for path in map(Path, paths):
        inside = sorted(file for file in path.glob("*") if file.suffix.lower() in ENDINGS)
        if path.is_dir() and not inside:
            refusals.append(f"expected a folder with {', '.join(ENDINGS)} files, got {path}, which has none")
        for file in inside if path.is_dir() else [path]:
            try:
                images.append(like_mnist(_grey(file), invert))
                files.append(str(file))
            except UserError as error:
                refusals.append(f"{file}: {error}")
    if not images and len(refusals) == 1:
        raise UserError(refusals[0])
    for refusal in refusals:
        warnings.warn(UserNotice(refusal), stacklevel=2)
    if not images:
        raise UserError("expected an image that can be read, got none; the warnings say why")
    return Digits(files, np.stack(images))


def like_mnist(grey: NDArray[np.floating], invert: bool | None = None) -> NDArray[np.uint8]:
    """Scales, centres and stretches one digit as MNIST's are; an image of MNIST stays nearly as it is.

    Args:
        grey: [height, width], any size, 0 (black) to 255 (white).
        invert: Whether ink is darker than paper; None to tell from the border.

    Returns:
        [28, 28], 0 is background and the brightest pixel 255.

    Raises:
        UserError: There is nothing in it.
    """
    from PIL import Image

    picture = Image.fromarray(grey.astype(np.float32))
    picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Image.Resampling.BOX)
    ink = _ink(np.asarray(picture), invert)
    if ink.max() < LEAST_CONTRAST:
        raise UserError(f"expected a digit, got a blank image (ink of {ink.max():.0f} of 255 grey levels)")
    rows, columns = (np.flatnonzero((ink > FLOOR * ink.max()).any(axis=axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if grey.shape != (SIDE, SIDE) or max(ink.shape) > BOX:  # else scaling would only blur
        height, width = (max(1, round(BOX * side / max(ink.shape))) for side in ink.shape)
        ink = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BOX))
        ink = np.where(ink < FLOOR * ink.max(), 0, ink)
    image = np.zeros((SIDE, SIDE))
    image[_centred(ink.sum(axis=1)), _centred(ink.sum(axis=0))] = ink
    return np.round(image * (255 / image.max())).astype(np.uint8)


def _grey(file: Path) -> NDArray[np.floating]:
    """A file's grey values, [height, width] from 0 to 255, on white paper where it is transparent."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings(), Image.open(file, formats=("PNG", "JPEG")) as opened:
            warnings.simplefilter("ignore")  # Pillow's, on sizes and metadata
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):  # 16 bit, which convert() would clip
                return np.asarray(picture, np.float32) / 257
            paper = Image.new("RGBA", picture.size, "white")
            return np.asarray(Image.alpha_composite(paper, picture.convert("RGBA")).convert("L"), np.float32)
    except FileNotFoundError:
        raise UserError("expected a PNG or JPEG image, got no such file") from None
    except Exception as error:  # a damaged file fails in each codec with errors of its own
        reason = " ".join(str(error).split()).replace(f" {str(file)!r}", "")
        raise UserError(f"expected a PNG or JPEG image, got what cannot be read as one ({reason})") from None


def _ink(grey: NDArray[np.float32], invert: bool | None) -> NDArray[np.float32]:
    """How far each pixel stands out from the paper, which is the border's median; at least 0."""
    paper = np.median(np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]))
    white_paper = bool(grey.max() - paper < paper - grey.min())
    if invert is not None and invert != white_paper:  # the border is ink, or the digit fills the picture
        paper, white_paper = (grey.max() if invert else grey.min()), invert
    return np.maximum(paper - grey if white_paper else grey - paper, 0)


def _centred(mass: NDArray[np.floating]) -> slice:
    """Where a box lies along an axis, its centre of mass in the middle as far as the image has room."""
    centre = (mass @ np.arange(len(mass))) / mass.sum()
    start = int(np.clip(round(MIDDLE - centre), 0, SIDE - len(mass)))
    return slice(start, start + len(mass))
