"""The pictures of a run folder, drawn the same for both frameworks.

Pillow draws, and is imported where it draws: a training waits for its pictures, and matplotlib takes a second to be
imported and two to draw 50 digits.

A picture is uint8 [height, width, 3].
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from textwrap import fill
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.runs.files import atomic_write

if TYPE_CHECKING:
    from PIL import ImageFont

Picture = NDArray[np.uint8]

_COLUMNS = 5
_ENLARGED = 112  # an image's longer side at most: 4 pixels for each of a digit's own
_MARGIN = 38, 58  # pixels that an image has beside it, and above it for its title
_BOX = 255, 0, 0  # of what is cut out
_COUNT = 56  # sides of a cell of the confusion matrix; wider where names are long
_MATRIX = 1680  # sides of the matrix at most; with smaller cells there are no counts and names
_TITLE = 448  # width of its title
_DARKEST = np.array([8, 48, 107])  # of the heat map, whose lightest is white


def examples(images: NDArray[np.uint8], labels: NDArray[np.uint8], classes: Sequence[str], most: int = 50) -> Picture:
    """The first image of each class that there is one of, in rows of 5, labelled.

    Args:
        images: [n, height, width, channels], 0 is background.
        labels: [n].
        classes: The name of each label.
        most: How many are drawn at most.
    """
    present, first = np.unique(labels, return_index=True)
    return grid([images[index] for index in first[:most]], [classes[label] for label in present[:most]])


def mistakes(
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    classes: Sequence[str],
    probabilities: NDArray[np.floating],
    most: int = 50,
) -> Picture:
    """The misclassified images, the surest first, each with its label, its prediction and the prediction's probability.

    Args:
        images: [n, height, width, channels], in the order of labels and probabilities.
        labels: [n].
        classes: The name of each label.
        probabilities: [n, classes].
        most: How many are drawn at most; the title says of how many.
    """
    predictions, surest = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    shown = wrong[np.argsort(-surest[wrong], kind="stable")][:most]
    titles = [f"{classes[labels[i]]} as {classes[predictions[i]]}, {surest[i]:.2f}" for i in shown]
    summary = f"{len(wrong)} of {len(labels)} misclassified, the surest {len(shown)}: label as prediction, probability"
    return grid([images[index] for index in shown], titles, summary)


def confusion_matrix(labels: NDArray[np.uint8], predictions: NDArray[np.integer], classes: Sequence[str]) -> Picture:
    """Heat map of how often each class (row) was predicted as each class (column), with the counts where they fit.

    Args:
        labels: [n].
        predictions: [n].
        classes: The name of each.
    """
    from PIL import Image, ImageDraw

    counts, size = count_predictions(labels, predictions, len(classes)), len(classes)
    # A logarithm, since nearly all counts lie on the diagonal and the others are what one looks for.
    heat = (np.log1p(counts) / np.log1p(counts.max()))[..., None]
    colors = Image.fromarray((255 + heat * (_DARKEST - 255)).astype(np.uint8))
    margin = max(_COUNT, 8 * max(map(len, classes)))
    cell = min(margin, _MATRIX // size)
    sides = size * cell
    canvas = Image.new("RGB", (max(sides, _TITLE) + 2 * margin, sides + 2 * margin), "white")
    canvas.paste(colors.resize((sides, sides), Image.Resampling.NEAREST), (margin, margin))
    draw = ImageDraw.Draw(canvas)

    def write(row: float, column: float, text: str, color: str = "black", anchor: str = "mm") -> None:
        center = margin + (column + 0.5) * cell, margin + (row + 0.5) * cell
        draw.text(center, text, color, _font(13), anchor=anchor)

    title = f"{np.trace(counts):,} of {counts.sum():,} right; rows: label, columns: prediction"
    draw.text((canvas.width / 2, margin / 2), title, "black", _font(13), anchor="mm")
    if cell == margin:
        for row, column in np.ndindex(counts.shape):
            write(row, column, f"{counts[row, column]:,}", "white" if heat[row, column] > 0.5 else "black")
        for place, name in enumerate(classes):
            write(place, -0.6, name, anchor="rm")
            write(size - 0.25, place, name)
    return np.asarray(canvas)


def count_predictions(labels: NDArray[np.uint8], predictions: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """The confusion matrix: [classes, classes], rows are labels and columns predictions; the first two both [n]."""
    cells = labels.astype(np.int64) * classes + predictions
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def cut_out(grey: NDArray[np.uint8], box: tuple[slice, slice]) -> tuple[Picture, Picture]:
    """A photo [height, width], 255 is white, with a box drawn around its rows and columns, and what is in the box."""
    from PIL import Image, ImageDraw

    photo = Image.fromarray(grey).convert("RGB")
    rows, columns = box
    cut = photo.crop((columns.start, rows.start, columns.stop, rows.stop))
    line = 1 + max(grey.shape) // 100
    corners = columns.start - line, rows.start - line, columns.stop + line, rows.stop + line
    ImageDraw.Draw(photo).rectangle(corners, outline=_BOX, width=line)
    return np.asarray(photo), np.asarray(cut)


def grid(
    images: Sequence[NDArray[np.uint8]],
    titles: Sequence[str],
    summary: str = "",
    size: int = 15,
    columns: int = _COLUMNS,
    side: int = _ENLARGED,
) -> Picture:
    """Images in rows.

    Args:
        images: Each [height, width, channels], 0 is background; three channels are red, green and blue.
        titles: One for each.
        summary: Stands above them.
        size: Of the titles' letters, in pixels.
        columns: How many stand in a row.
        side: An image's longer side, in pixels, at most.
    """
    from PIL import Image, ImageDraw

    width, height = (side + margin for margin in _MARGIN)
    rows = max(1, -(-len(images) // columns))
    canvas = Image.new("RGB", (width * columns, height * rows + 40), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((canvas.width / 2, 20), summary, "black", _font(13), anchor="mm")
    for place, (image, title) in enumerate(zip(images, titles, strict=True)):
        row, column = divmod(place, columns)
        center, top = (column + 0.5) * width, row * height + 90
        picture = Image.fromarray(image if image.shape[2] == 3 else 255 - image[..., 0])
        if (times := side // max(picture.size)) > 0:
            picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
        picture.thumbnail((side, side))
        canvas.paste(picture, (int(center) - picture.width // 2, top + (side - picture.height) // 2))
        lines = "\n".join(fill(line, int(2 * width / size)) for line in title.splitlines())
        draw.multiline_text((center, top - 4), lines, "black", _font(size), anchor="md", align="center")
    return np.asarray(canvas)


def save(picture: Picture, file: str | Path | IO[bytes]) -> None:
    """Writes a picture as a PNG file."""
    from PIL import Image

    with atomic_write(file) if isinstance(file, str | Path) else nullcontext(file) as place:
        Image.fromarray(picture).save(place, format="png")


def _font(size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    """Pillow's own font, in pixels."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
