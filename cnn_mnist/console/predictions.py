"""What ``predict`` takes and gives in both frameworks: arguments, softmax, table, file and figure."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jsonargparse import Namespace
from numpy.typing import NDArray

from cnn_mnist.console.arguments import OneLineErrors
from cnn_mnist.console.tables import print_table
from cnn_mnist.data.digits import Digits
from cnn_mnist.errors import UserError
from cnn_mnist.runs import pictures

_MOST_DRAWN = 50


class Prediction(NamedTuple):
    """What a network takes an image for: the digit, and its probability in [0, 1]."""

    digit: int
    probability: float


def parse(program: str, description: str, args: list[str]) -> Namespace:
    """Reads the arguments after ``predict``: ``images``, ``ckpt_path`` (a list), ``invert``, ``output``, ``figure``.

    Raises:
        UserError: There is no checkpoint, or a file to write has another ending or no folder.
    """
    parser = OneLineErrors(prog=f"{program} predict", description=description)
    parser.add_argument("images", nargs="+", type=str, help="PNG or JPEG files, or folders of them, of one digit each.")
    parser.add_argument("--ckpt_path", action="append", type=str, default=[], help="A run folder or a checkpoint file.")
    parser.add_argument(
        "--invert",
        type=bool | None,
        default=None,
        help="Whether ink is darker than paper; told from each image's border where it is not given.",
    )
    parser.add_argument("--output", type=str | None, default=None, help="A .csv or .json file in place of the table.")
    parser.add_argument("--figure", type=str | None, default=None, help="A .png file for what the network saw.")
    config = parser.parse_args(args)
    if not config.ckpt_path:
        raise UserError("predict: expected a trained network; name one with --ckpt_path=RUN_OR_FILE")
    for flag, endings in (("output", (".csv", ".json")), ("figure", (".png",))):
        path = Path(config[flag] or f"none{endings[0]}")
        if path.suffix not in endings:
            raise UserError(f"--{flag}: expected a file that ends in {' or '.join(endings)}, got {path}")
        if not path.parent.is_dir():
            raise UserError(f"--{flag}: expected a folder that exists, got {path.parent}, for {path}; make it first")
    return config


def softmax(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """Logits to probabilities, both [n, 10]."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def read(logits: NDArray[np.floating]) -> list[Prediction]:
    """The prediction of each row of logits [n, 10]."""
    return [Prediction(int(row.argmax()), float(row.max())) for row in softmax(logits)]


def put_out(digits: Digits, predictions: Mapping[str, Sequence[Prediction]], config: Namespace) -> None:
    """Prints the table, or writes it where ``--output`` says, and draws ``--figure``.

    Args:
        digits: What was read.
        predictions: By the name of a framework, or of two, which then stand side by side.
        config: What ``parse`` gave.

    Raises:
        UserError: A file cannot be written.
    """
    records = _records(digits.files, predictions)
    try:
        if config.output is None:
            _print(records)
        elif config.output.endswith(".json"):
            Path(config.output).write_text(json.dumps(records, indent=1) + "\n")
        else:
            with open(config.output, "w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(records[0]))
                writer.writeheader()
                writer.writerows(records)
        if config.figure is not None:
            _draw(digits, predictions, config.figure)
    except OSError as error:
        raise UserError(f"expected a file that can be written, got {error.filename} ({error.strerror})") from None


def _records(files: Sequence[str], predictions: Mapping[str, Sequence[Prediction]]) -> list[dict[str, Any]]:
    """One flat record for each file, its keys the columns of the table."""
    records = []
    for file, *row in zip(files, *predictions.values(), strict=True):
        record: dict[str, Any] = {"file": file}
        for name, prediction in zip(predictions, row, strict=True):
            prefix = f"{name}_" if len(predictions) > 1 else ""
            record |= {f"{prefix}{field}": value for field, value in prediction._asdict().items()}
        if len(predictions) > 1:
            record["differ"] = len({prediction.digit for prediction in row}) > 1
        records.append(record)
    return records


def _print(records: Sequence[Mapping[str, Any]]) -> None:
    header = [name.replace("_", "\n") for name in records[0]]
    print_table([header, *([_cell(value) for value in record.values()] for record in records)])


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _draw(digits: Digits, predictions: Mapping[str, Sequence[Prediction]], path: str) -> None:
    lines = [
        [f"{name if len(predictions) > 1 else ''} {digit}, {probability:.2f}" for digit, probability in column]
        for name, column in predictions.items()
    ]
    titles = ["\n".join(row) for row in zip(*lines, strict=True)]
    summary = f"the first {_MOST_DRAWN} of {len(titles)}" if len(titles) > _MOST_DRAWN else ""
    pictures.save(pictures.grid(list(digits.images[:_MOST_DRAWN]), titles[:_MOST_DRAWN], summary), path)
