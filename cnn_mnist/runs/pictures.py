"""The pictures of a run folder, the same for both frameworks.

They are drawn with Pillow, because a training waits for them: matplotlib takes a second to import and two to draw 50
digits.

A picture is uint8 [height, width, 3].
"""

import io
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.runs import tags
from cnn_mnist.runs.files import atomic_write

if TYPE_CHECKING:
    from PIL import ImageFont

    from cnn_mnist.data.splits import Split

Picture = NDArray[np.uint8]

_COLUMNS = 5
_ENLARGED = 112  # longest side of an image: 4 times a digit's
_MARGIN = 38, 58  # pixels next to an image, and above it for its title
_BOX = 255, 0, 0  # color around a digit in a photo
_COUNT = 56  # side of a cell of the confusion matrix; larger for long names
_MATRIX = 1680  # largest side of the matrix; small cells have no counts and names
_TITLE = 448  # width of its title
_DARKEST = np.array([8, 48, 107])  # of the heat map, whose lightest is white


def add_predictions(writer: Any, test: "Split", probabilities: NDArray[np.floating], step: int) -> None:
    """Writes the confusion matrix and the misclassified images of a run.

    Args:
        writer: The run's event file, a ``Recorder`` or PyTorch's ``SummaryWriter``.
        test: The images that were predicted.
        probabilities: [n, classes].
        step: Optimizer updates so far.
    """
    confusion = confusion_matrix(test.labels, probabilities.argmax(axis=1), test.classes)
    writer.add_image(tags.CONFUSION_MATRIX, confusion, step, dataformats="HWC")
    writer.add_image(tags.MISTAKES, mistakes(*test, probabilities), step, dataformats="HWC")


def examples(images: NDArray[np.uint8], labels: NDArray[np.uint8], classes: Sequence[str], most: int = 50) -> Picture:
    """Draws the first image of each class that occurs, with its label.

    Args:
        images: [n, height, width, channels], 0 is background.
        labels: [n].
        classes: The name of each label.
        most: Largest number of images.
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
    """Draws the misclassified images with label, prediction and its probability, the most confident first.

    Args:
        images: [n, height, width, channels], in the order of labels and probabilities.
        labels: [n].
        classes: The name of each label.
        probabilities: [n, classes].
        most: Largest number of images.
    """
    predictions, surest = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predictions != labels)
    shown = wrong[np.argsort(-surest[wrong], kind="stable")][:most]
    titles = [f"{classes[labels[i]]} as {classes[predictions[i]]}, {surest[i]:.2f}" for i in shown]
    summary = f"{len(wrong)} of {len(labels)} misclassified, the surest {len(shown)}: label as prediction, probability"
    return grid([images[index] for index in shown], titles, summary)


def confusion_matrix(labels: NDArray[np.uint8], predictions: NDArray[np.integer], classes: Sequence[str]) -> Picture:
    """Draws the confusion matrix as a heat map, rows are labels and columns predictions, with counts if they fit.

    Args:
        labels: [n].
        predictions: [n].
        classes: The name of each label.
    """
    from PIL import Image, ImageDraw

    counts, size = count_predictions(labels, predictions, len(classes)), len(classes)
    # Logarithmic, because nearly all counts are on the diagonal and the others matter.
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
    """Counts predictions [n] by label [n]; returns int64 [classes, classes], rows are labels."""
    cells = labels.astype(np.int64) * classes + predictions
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def cut_out(grey: NDArray[np.uint8], box: tuple[slice, slice]) -> tuple[Picture, Picture]:
    """Draws a box into a photo [height, width], 255 is white; returns the photo and the content of the box."""
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
    """Arranges images in rows.

    Args:
        images: Each [height, width, channels], 0 is background; three channels are red, green and blue.
        titles: One for each image.
        summary: Text above the images.
        size: Height of the titles' letters in pixels.
        columns: Images in a row.
        side: Longest side of an image in pixels.
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


def png(picture: Picture) -> bytes:
    """Encodes a picture as the content of a PNG file."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, format="png")
    return content.getvalue()


def save(picture: Picture, path: str | Path) -> None:
    """Writes a picture as a PNG file."""
    with atomic_write(path) as aside:
        aside.write_bytes(png(picture))


def _font(size: int) -> "ImageFont.FreeTypeFont | ImageFont.ImageFont":
    """Loads Pillow's font in a size in pixels."""
    from PIL import ImageFont

    return ImageFont.load_default(size)
