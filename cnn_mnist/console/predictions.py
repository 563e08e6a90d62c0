"""Predictions of ``predict`` as a table, a file and a figure, the same in both frameworks."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jsonargparse import Namespace
from numpy.typing import NDArray

from cnn_mnist.console.tables import print_table
from cnn_mnist.data.splits import MOST_VIEWS, Digits
from cnn_mnist.errors import UserError
from cnn_mnist.neutral import csv_text, say
from cnn_mnist.runs import pictures
from cnn_mnist.runs.files import atomic_write_text

_MOST_LISTED = 20  # rows of the test set in the terminal
_NEAR = 0.2  # the second class is shown if its probability is less than this below the best
_PHOTO = 224  # pixels: the longer side of a photo in the figure


class Prediction(NamedTuple):
    """The class that a network predicts for an image.

    Attributes:
        digit: Number of the class, which for digits is the digit.
        probability: Probability of that class, in [0, 1].
        name: Name of the class; empty if the name is the number.
        runner_up: Second class with its probability if that is close, otherwise empty.
        probabilities: Probability of every class, in their order.
    """

    digit: int
    probability: float
    name: str = ""
    runner_up: str = ""
    probabilities: tuple[float, ...] = ()


def softmax(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """Turns logits [n, classes] into probabilities [n, classes]."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def from_logits(logits: NDArray[np.floating], classes: Sequence[str] = ()) -> list[Prediction]:
    """Turns logits into predictions.

    Args:
        logits: [n, classes].
        classes: Names of the classes; empty if unknown.
    """
    names = {number: name for number, name in enumerate(classes) if name != str(number)}
    predictions = []
    for row in softmax(logits):
        best, *others = map(int, np.argsort(-row, kind="stable")[:2])
        near = [f"{names.get(i, i)} ({row[i]:.2f})" for i in others if row[best] - row[i] < _NEAR]
        chances = tuple(map(float, row))
        predictions.append(Prediction(best, chances[best], names.get(best, ""), "".join(near), chances))
    return predictions


def write_predictions(digits: Digits, predictions: Mapping[str, Sequence[Prediction]], config: Namespace) -> None:
    """Prints the predictions or writes ``--output``, and draws ``--figure``.

    Args:
        digits: The images.
        predictions: The predictions of one framework or of two, by its name.
        config: The parsed arguments.

    Raises:
        UserError: A file cannot be written, or a named picture could not be read.
    """
    records = _records(digits, predictions, complete=config.output is not None)
    if config.output is None and digits.labels is None:
        _print(records)
    elif config.output is None:
        listed = records[:_MOST_LISTED]
        _print(listed, title=f"first {len(listed)} of {len(records):,} test images")
    elif config.output.endswith(".json"):
        atomic_write_text(config.output, json.dumps(records, indent=1) + "\n")
    else:
        atomic_write_text(config.output, csv_text(_lines(records)))
    if config.figure is not None:
        _draw(digits, predictions, config.figure)
    if digits.labels is not None:
        for name, column in predictions.items():
            right = sum(found.digit == label for found, label in zip(column, digits.labels, strict=True))
            print(f"{name}: {right:,} of {len(column):,} test images right ({right / len(column):.2%})")
    for path in filter(None, (config.output, config.figure)):
        say(f"wrote {path}")
    if digits.unreadable:
        raise UserError(f"expected digits in every named picture, got none from {', '.join(digits.unreadable)}")


def _records(digits: Digits, predictions: Mapping[str, Sequence[Prediction]], complete: bool) -> list[dict[str, Any]]:
    """Returns a flat record for each image, keyed by column; a complete one has the probability of every class."""
    records = []
    for place, (file, *row) in enumerate(zip(digits.files, *predictions.values(), strict=True)):
        record: dict[str, Any] = {"file": file}
        if digits.labels is not None:
            record = {"image": place, "label": int(digits.labels[place])}
        for name, prediction in zip(predictions, row, strict=True):
            prefix = f"{name}_" if len(predictions) > 1 else ""
            found = {field: value for field, value in prediction._asdict().items() if value != ""}
            chances = found.pop("probabilities")
            if digits.labels is not None:
                found["wrong"] = prediction.digit != int(digits.labels[place])
            if complete:
                found |= {f"p{number}": chance for number, chance in enumerate(chances)}
            record |= {f"{prefix}{field}": value for field, value in found.items()}
        if len(predictions) > 1:
            record["differ"] = len({prediction.digit for prediction in row}) > 1
        records.append(record)
    return records


def _lines(records: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Returns the header and a line for each record; some records have no name or runner-up."""
    fields = list(dict.fromkeys([*max(records, key=len), *(field for record in records for field in record)]))
    return [fields, *([record.get(field, "") for field in fields] for record in records)]


def _print(records: Sequence[Mapping[str, Any]], title: str = "") -> None:
    header, *lines = _lines(records)
    print_table([[name.replace("_", " ") for name in header], *(list(map(_cell, line)) for line in lines)], title)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _draw(digits: Digits, predictions: Mapping[str, Sequence[Prediction]], path: str) -> None:
    lines = [
        [f"{name if len(predictions) > 1 else ''} {one.name or one.digit}, {one.probability:.2f}" for one in column]
        for name, column in predictions.items()
    ]
    titles = ["\n".join(row) for row in zip(*lines, strict=True)]
    summary = f"the first {MOST_VIEWS} of {len(titles)}" if len(titles) > MOST_VIEWS else ""
    images, titles = list(digits.images[:MOST_VIEWS]), titles[:MOST_VIEWS]
    if not digits.views:
        pictures.save(pictures.grid(images, titles, summary), path)
        return
    shown, below = list[NDArray[np.uint8]](), list[str]()
    for view, image, title, file in zip(digits.views, images, titles, digits.files, strict=False):
        shown += [*pictures.cut_out(*view), image]
        below += [Path(file).name, "", title]
    pictures.save(pictures.grid(shown, below, summary, columns=3, side=_PHOTO), path)
