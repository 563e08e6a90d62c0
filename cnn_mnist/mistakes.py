"""The misread test images of a run, kept in its folder: with the labels, they are all its predictions.

Ground floor: numpy and the standard library. Written by both trainers, read by ``compare``.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture import CLASSES
from cnn_mnist.errors import UserError

FILE = "mistakes.csv"
Mistakes = dict[int, tuple[int, int]]
"""(label, reading) of each misread image, by its number in the test set."""

_HEADER = ["image", "label", "reading"]


def write_mistakes(folder: str | Path, labels: NDArray[np.uint8], readings: NDArray[np.integer]) -> None:
    """Writes ``mistakes.csv``: number, label and reading of each misread image, ascending.

    Args:
        folder: The run folder.
        labels: Those of the whole test set, [n].
        readings: Likewise, [n].
    """
    with Path(folder, FILE).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows((image, labels[image], readings[image]) for image in np.flatnonzero(labels != readings))


def read_mistakes(folder: str | Path) -> Mistakes | None:
    """What ``mistakes.csv`` says; None where a run has none.

    Raises:
        UserError: The file is damaged.
    """
    path = Path(folder, FILE)
    try:
        header, *lines = csv.reader(path.read_text().splitlines())
        mistakes = {int(image): (int(label), int(reading)) for image, label, reading in lines}
        misread = (a != b and {a, b} <= set(range(CLASSES)) for a, b in mistakes.values())
        if header != _HEADER or len(mistakes) != len(lines) or not all(misread):
            raise ValueError
    except FileNotFoundError:
        return None
    except (ValueError, csv.Error):
        raise UserError(
            f"expected lines of {','.join(_HEADER)} as a trainer writes them, got something else in {path}; "
            "delete it, and the run is compared without its predictions"
        ) from None
    return mistakes
