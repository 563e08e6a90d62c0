"""The pictures of a run folder, drawn the same for both frameworks.

Pillow draws, and is imported where it draws: a training waits for its pictures, and matplotlib takes a second to be
imported and two to draw 50 digits.

A picture is uint8 [height, width, 3].
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.trace import CLASSES

Picture = NDArray[np.uint8]

_COLUMNS = 5
_CELL = 150, 170  # width and height of a digit with its title, in pixels
_ENLARGED = 112  # a digit's sides: 4 pixels for each of its own
_COUNT = 56  # sides of a cell of the confusion matrix
_DARKEST = np.array([8, 48, 107])  # of the heat map, whose lightest is white


def examples(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Picture:
    """The first image of each digit, in 2 rows of 5, labelled.

    Args:
        images: [n, 28, 28], 0 is background.
        labels: [n], each of the ten digits at least once.
    """
    first = [int(np.argmax(labels == digit)) for digit in range(CLASSES)]
    return grid([images[index] for index in first], [str(digit) for digit in range(CLASSES)])


def mistakes(
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    probabilities: NDArray[np.floating],
    most: int = 50,
) -> Picture:
    """The misclassified images, the surest first, each with its label, its prediction and the prediction's probability.

    Args:
        images: [n, 28, 28], in the order of the other two.
        labels: [n].
        probabilities: [n, 10].
        most: How many are drawn at most; the title says of how many.
    """
    predictions, surest = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    shown = wrong[np.argsort(-surest[wrong], kind="stable")][:most]
    titles = [f"{labels[i]} as {predictions[i]}, {surest[i]:.2f}" for i in shown]
    summary = f"{len(wrong)} of {len(labels)} misclassified, the surest {len(shown)}: label as prediction, probability"
    return grid([images[index] for index in shown], titles, summary)


def confusion_matrix(labels: NDArray[np.uint8], predictions: NDArray[np.integer]) -> Picture:
    """Heat map of how often each digit (row) was predicted as each digit (column), with the counts.

    Args:
        labels: [n].
        predictions: [n].
    """
    from PIL import Image, ImageDraw

    counts = count_predictions(labels, predictions)
    # A logarithm, since nearly all counts lie on the diagonal and the others are what one looks for.
    heat = (np.log1p(counts) / np.log1p(counts.max()))[..., None]
    colors = Image.fromarray((255 + heat * (_DARKEST - 255)).astype(np.uint8))
    sides = CLASSES * _COUNT
    canvas = Image.new("RGB", (sides + 2 * _COUNT, sides + 2 * _COUNT), "white")
    canvas.paste(colors.resize((sides, sides), Image.Resampling.NEAREST), (_COUNT, _COUNT))
    draw = ImageDraw.Draw(canvas)

    def write(row: float, column: float, text: str, color: str = "black") -> None:
        center = ((column + 1.5) * _COUNT, (row + 1.5) * _COUNT)
        draw.text(center, text, color, _font(13), anchor="mm")

    for row, column in np.ndindex(counts.shape):
        write(row, column, f"{counts[row, column]:,}", "white" if heat[row, column] > 0.5 else "black")
    for digit in range(CLASSES):
        write(digit, -0.75, str(digit))
        write(CLASSES - 0.25, digit, str(digit))
    write(-1, (CLASSES - 1) / 2, f"{np.trace(counts):,} of {counts.sum():,} right; rows: label, columns: prediction")
    return np.asarray(canvas)


def count_predictions(labels: NDArray[np.uint8], predictions: NDArray[np.integer]) -> NDArray[np.int64]:
    """The confusion matrix: [10, 10], rows are labels and columns predictions; arguments both [n]."""
    cells = labels.astype(np.int64) * CLASSES + predictions
    return np.bincount(cells, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def grid(images: Sequence[NDArray[np.uint8]], titles: Sequence[str], summary: str = "", size: int = 15) -> Picture:
    """Images in rows of 5.

    Args:
        images: Each [28, 28], 0 is background.
        titles: One for each.
        summary: Stands above them.
        size: Of the titles' letters, in pixels.
    """
    from PIL import Image, ImageDraw

    width, height = _CELL
    rows = max(1, -(-len(images) // _COLUMNS))
    canvas = Image.new("RGB", (width * _COLUMNS, height * rows + 40), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((canvas.width / 2, 20), summary, "black", _font(13), anchor="mm")
    for place, (image, title) in enumerate(zip(images, titles, strict=True)):
        row, column = divmod(place, _COLUMNS)
        center, top = (column + 0.5) * width, row * height + 90
        enlarged = Image.fromarray(255 - image).resize((_ENLARGED, _ENLARGED), Image.Resampling.NEAREST)
        canvas.paste(enlarged, (int(center) - _ENLARGED // 2, top))
        draw.multiline_text((center, top - 4), title, "black", _font(size), anchor="md", align="center")
    return np.asarray(canvas)


def save(picture: Picture, path: str | Path) -> None:
    """Writes a picture as a PNG file."""
    from PIL import Image

    Image.fromarray(picture).save(path, format="png")


def _font(size: int) -> Any:
    """Pillow's own font, in pixels."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
