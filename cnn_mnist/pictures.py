"""The pictures of a run folder, drawn the same for both frameworks.

Ground floor: numpy; matplotlib and Pillow only inside the functions that draw. Everyone may import it.

A picture is uint8 [height, width, 3].
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture import CLASSES

Picture = NDArray[np.uint8]


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
    """The misread images, the surest first, each with its label, its reading and the reading's probability.

    Args:
        images: [n, 28, 28], in the order of the other two.
        labels: [n].
        probabilities: [n, 10].
        most: How many are drawn at most; the title says of how many.
    """
    readings, surest = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(readings != labels)
    shown = wrong[np.argsort(-surest[wrong], kind="stable")][:most]
    titles = [f"{labels[i]} as {readings[i]}, {surest[i]:.2f}" for i in shown]
    summary = f"{len(wrong)} of {len(labels)} misread, the surest {len(shown)}: label as reading, probability"
    return grid([images[index] for index in shown], titles, summary)


def confusion_matrix(labels: NDArray[np.uint8], readings: NDArray[np.integer]) -> Picture:
    """Heat map of how often each digit (row) was read as each digit (column), with the counts.

    Args:
        labels: [n].
        readings: [n].
    """
    counts = count_readings(labels, readings)
    figure = _figure(7, 6.4)
    axes = figure.add_subplot()
    # A logarithm, since nearly all counts lie on the diagonal and the others are what one looks for.
    axes.imshow(np.log1p(counts), cmap="Blues")
    for row, column in np.ndindex(counts.shape):
        dark = counts[row, column] > np.sqrt(counts.max())
        color = "white" if dark else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=9, color=color)
    axes.set(xticks=range(CLASSES), yticks=range(CLASSES), xlabel="reading", ylabel="label")
    axes.set_title(f"{np.trace(counts)} of {counts.sum()} right")
    return _pixels(figure)


def count_readings(labels: NDArray[np.uint8], readings: NDArray[np.integer]) -> NDArray[np.int64]:
    """The confusion matrix: [10, 10], rows are labels and columns readings; arguments both [n]."""
    cells = labels.astype(np.int64) * CLASSES + readings
    return np.bincount(cells, minlength=CLASSES**2).reshape(CLASSES, CLASSES)


def grid(images: Sequence[NDArray[np.uint8]], titles: Sequence[str], summary: str = "", size: int = 11) -> Picture:
    """Images in rows of 5.

    Args:
        images: Each [28, 28], 0 is background.
        titles: One for each.
        summary: Stands above them.
        size: Of the titles' letters, in points.
    """
    columns = 5
    rows = max(1, -(-len(images) // columns))
    figure = _figure(1.5 * columns, 1.7 * rows + 0.4)
    figure.suptitle(summary, fontsize=9)
    for place, (image, title) in enumerate(zip(images, titles, strict=True), start=1):
        axes = figure.add_subplot(rows, columns, place)
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
        axes.set_title(title, fontsize=size)
        axes.axis("off")
    return _pixels(figure)


def save(picture: Picture, path: str | Path) -> None:
    """Writes a picture as a PNG file."""
    from PIL import Image

    Image.fromarray(picture).save(path, format="png")


def _figure(width: float, height: float) -> Any:
    # Figure and canvas by hand: pyplot would choose a backend and keep every figure for ever.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _pixels(figure: Any) -> Picture:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
