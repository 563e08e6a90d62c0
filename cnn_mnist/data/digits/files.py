"""Reads picture files of common formats as grey values or as a network's input."""

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.errors import UserError

if TYPE_CHECKING:  # Pillow is imported only when a file is read
    from PIL import Image

FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF",
    ".gif": "GIF",
}  # fmt: skip
"""Endings of picture files, and Pillow's name of each format."""

PHONE = (".heic", ".heif", ".avif")
"""Formats of phones that Pillow cannot read without more packages."""

MOST_PIXELS = 120_000_000
"""Limit for a picture; a tiny file may claim any number."""

_BAND = 4_000_000  # pixels that are converted at once, which limits the memory for a large picture


def read_grey(file: Path, side: int) -> NDArray[np.float32]:
    """Reads the grey values of a file, averaged down to a longer side of about ``side``.

    The picture is rotated by its metadata. A transparent picture gets a white background if its visible part is dark,
    otherwise a black one. The range of a deep picture is detected: 10 or 12 bits in 16 are not dark.

    Args:
        file: The picture file.
        side: Pixels.

    Returns:
        float32 [height, width], from 0 (black) to 255 (white). The longer side is between ``side`` and twice ``side``,
        or the file's if that is smaller.

    Raises:
        UserError: The file is missing, damaged, too large or of another kind.
    """
    return _read(file, partial(_grey, side=side))


def read_scaled(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Reads a file at the size of a network's input, cropped to its middle if the proportions differ.

    Args:
        file: The picture file.
        shape: (height, width, channels), with 1 channel (grey) or 3 (colour).

    Returns:
        uint8 of that shape.

    Raises:
        UserError: The file is missing, damaged, too large or of another kind, or the network has other channels.
    """
    if shape[2] not in (1, 3):
        raise UserError(f"expected a network with 1 or 3 input channels for a picture, got {shape[2]}")
    return _read(file, partial(_scaled, shape=shape)).reshape(shape)


def _read(file: Path, read: "Callable[[Image.Image], NDArray]") -> NDArray:
    from PIL import Image

    kinds = ", ".join(sorted(set(FORMATS.values())))
    if file.suffix.lower() in PHONE:
        raise UserError(f"expected {kinds}, got a {file.suffix[1:].upper()} file; save or share the photo as JPEG")
    try:
        ours = tuple(set(FORMATS.values()))
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=ours) as opened:  # on sizes, metadata
            if opened.width * opened.height > MOST_PIXELS:
                most = MOST_PIXELS // 1_000_000
                raise UserError(f"expected at most {most} megapixels, got {opened.width} x {opened.height} pixels")
            return read(opened)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError("expected a picture file, got no such file") from None
    except Image.DecompressionBombError:
        raise UserError(f"expected at most {MOST_PIXELS // 1_000_000} megapixels, got many more") from None
    except Exception as error:  # each codec raises other errors for a damaged file
        reason = " ".join(str(error).split()).replace(f" {str(file)!r}", "")
        raise UserError(f"expected {kinds}, got what cannot be read as one ({reason})") from None


def _scaled(opened: "Image.Image", shape: tuple[int, ...]) -> NDArray[np.uint8]:
    from PIL import Image, ImageOps

    height, width, channels = shape
    mode = "L" if channels == 1 else "RGB"
    opened.draft(mode, (width, height))  # decodes a JPEG file at down to an eighth of its size
    ImageOps.exif_transpose(opened, in_place=True)
    return np.asarray(ImageOps.fit(opened.convert(mode), (width, height), Image.Resampling.LANCZOS))


def _grey(opened: "Image.Image", side: int) -> NDArray[np.float32]:
    """Converts a picture to grey values over its background, band by band."""
    from PIL import Image, ImageOps

    opened.draft("L", (side, side))  # decodes a JPEG file at down to an eighth of its size
    ImageOps.exif_transpose(opened, in_place=True)
    factor = max(1, max(opened.size) // side)
    rows = max(1, _BAND // opened.width // factor) * factor
    deep = opened.mode.startswith(("I", "F"))
    extremes: Any = opened.getextrema() if deep else (0, 255)
    full = extremes[1] if opened.mode == "F" else (1 << max(8, int(extremes[1]).bit_length())) - 1
    visible, cover = list[NDArray[np.float32]](), list[NDArray[np.float32]]()
    for top in range(0, opened.height, rows):
        band = opened.crop((0, top, opened.width, min(top + rows, opened.height)))
        if not deep:  # convert() would clip deep pictures
            band = band.convert("RGBA").convert("LA") if band.has_transparency_data else band.convert("L")
        layers = np.moveaxis(np.atleast_3d(np.asarray(band, np.float32)), 2, 0)
        alpha = layers[1] / 255 if len(layers) > 1 else np.ones_like(layers[0])
        for parts, values in ((visible, layers[0] * alpha * (255 / max(full, 1e-30))), (cover, alpha)):
            parts.append(np.asarray(Image.fromarray(values).reduce(factor)))
    seen, covered = np.concatenate(visible), np.concatenate(cover)
    paper = 255 if seen.sum() < 127.5 * covered.sum() else 0
    return seen + paper * (1 - covered)
