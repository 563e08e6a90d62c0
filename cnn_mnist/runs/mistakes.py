"""The misclassified test images of a run; together with the labels they determine all its predictions."""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.errors import UserError
from cnn_mnist.runs.files import atomic_write
from cnn_mnist.untrusted import read_text

FILE = "mistakes.csv"
Mistakes = dict[int, tuple[int, int]]
"""(label, prediction) of each misclassified image, by its number in the test set."""

_HEADER = ["image", "label", "prediction"]


def write_mistakes(folder: str | Path, labels: NDArray[np.uint8], predictions: NDArray[np.integer]) -> None:
    """Writes ``mistakes.csv``: number, label and prediction of each misclassified image, ascending.

    Args:
        folder: The run folder.
        labels: Labels of the complete test set, [n].
        predictions: Predicted classes, [n].
    """
    with atomic_write(Path(folder, FILE)) as aside, aside.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows((image, labels[image], predictions[image]) for image in np.flatnonzero(labels != predictions))


def read_mistakes(folder: str | Path) -> Mistakes | None:
    """Reads ``mistakes.csv``.

    Returns:
        The misclassified images; None if the run has no such file.

    Raises:
        UserError: The file is damaged.
    """
    path = Path(folder, FILE)
    try:
        header, *lines = csv.reader(read_text(path).decode().splitlines())
        mistakes = {int(image): (int(label), int(prediction)) for image, label, prediction in lines}
        misclassified = (a != b and min(a, b) >= 0 and max(a, b) < 256 for a, b in mistakes.values())
        if header != _HEADER or len(mistakes) != len(lines) or not all(misclassified):
            raise ValueError
    except FileNotFoundError:
        return None
    except (OSError, ValueError, csv.Error):
        raise UserError(
            f"expected lines of {','.join(_HEADER)} as a trainer writes them, got something else in {path}; "
            "the run is compared without its predictions"
        ) from None
    return mistakes
