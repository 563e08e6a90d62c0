"""Reads picture files of common formats as grey values or as a network's input."""

import warnings
from collections.abc import Iterator
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

MOST_PAGES, MOST_PIXELS_OF_ALL = 100, 180_000_000
"""Limits for the pages of a file, and for all of them together: 20 pages of A4 at 300 dots per inch."""

_KINDS = ", ".join(sorted(set(FORMATS.values())))
_SUBFILE = 254  # TIFF's tag whose first bit marks a reduced copy of another page
_BAND = 4_000_000  # pixels that are converted at once, which limits the memory for a large picture


def read_pages(
    file: Path, side: int, shape: tuple[int, ...] | None = None
) -> Iterator[tuple[str, NDArray | UserError]]:
    """Reads the pages of a TIFF file, the frames of an animation, or the one picture of another file.

    A picture is rotated by its metadata. A transparent one gets a white background if its visible part is dark,
    otherwise a black one. The range of a deep picture is detected: 10 or 12 bits in 16 are not dark.

    Args:
        file: The picture file.
        side: Pixels; the page is averaged down to a longer side between this and its double.
        shape: (height, width, channels) of a network's input, to which the page is scaled instead, cropped to its
            middle if the proportions differ.

    Yields:
        The name of a page, ``photo.tif[2]`` if there are several, and its grey values float32 [height, width], 0
        (black) to 255 (white), or uint8 of the shape; or the error of a page that cannot be read.
    """
    from PIL import Image

    if shape is not None and shape[2] not in (1, 3):
        yield str(file), UserError(f"expected a network with 1 or 3 input channels for a picture, got {shape[2]}")
        return
    if file.suffix.lower() in PHONE:
        ending = file.suffix[1:].upper()
        yield str(file), UserError(f"expected {_KINDS}, got a {ending} file; save or share the photo as JPEG")
        return
    name = str(file)
    try:
        pixels = 0
        with warnings.catch_warnings(action="ignore"), Image.open(file, formats=tuple(FORMATS.values())) as opened:
            several = opened.format != "MPO" and getattr(opened, "is_animated", False)  # that of a phone is one photo
            for number in range(MOST_PAGES + 1 if several else 1):
                name = f"{file}[{number}]" if several else str(file)
                try:
                    opened.seek(number)
                except EOFError:
                    return
                if number == MOST_PAGES:
                    raise UserError(f"expected at most {MOST_PAGES} pages, got more; the first {MOST_PAGES} are read")
                if opened.width * opened.height > MOST_PIXELS:
                    most = MOST_PIXELS // 1_000_000
                    raise UserError(f"expected at most {most} megapixels, got {opened.width} x {opened.height} pixels")
                pixels += opened.width * opened.height
                if pixels > MOST_PIXELS_OF_ALL:
                    most = MOST_PIXELS_OF_ALL // 1_000_000
                    raise UserError(f"expected at most {most} megapixels in all pages, got more; split the file")
                if getattr(opened, "tag_v2", {}).get(_SUBFILE, 0) & 1:  # a thumbnail of another page
                    continue
                page = opened.copy() if several else opened  # what follows would change the frames after it
                yield name, _grey(page, side) if shape is None else _scaled(page, shape).reshape(shape)
    except Exception as error:  # each codec raises other errors for a damaged file
        yield name, _explained(error, file)


def _explained(error: Exception, file: Path) -> UserError:
    from PIL import Image

    if isinstance(error, UserError):
        return error
    if isinstance(error, FileNotFoundError):
        return UserError("expected a picture file, got no such file")
    if isinstance(error, Image.DecompressionBombError):
        return UserError(f"expected at most {MOST_PIXELS // 1_000_000} megapixels, got many more")
    reason = " ".join(str(error).split()).replace(f" {str(file)!r}", "")
    return UserError(f"expected {_KINDS}, got what cannot be read as one ({reason})")


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
