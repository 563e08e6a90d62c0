"""What ``predict`` takes and gives in both frameworks: arguments, images, softmax, table, file and figure."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jsonargparse import Namespace
from numpy.typing import NDArray

from cnn_mnist.architecture.layer_spec import Shape, times
from cnn_mnist.architecture.network import Network
from cnn_mnist.console.arguments import OneLineErrors, OutputFile
from cnn_mnist.console.tables import print_table
from cnn_mnist.data.known_sets import KNOWN_SETS
from cnn_mnist.data.splits import MOST_VIEWS, Digits, load_full_sets
from cnn_mnist.errors import UserError
from cnn_mnist.runs import pictures
from cnn_mnist.runs.files import atomic_write, atomic_write_text
from cnn_mnist.runs.folder import CHECKPOINTS, read_config
from cnn_mnist.settings import DataSettings, KnownName

_MOST_LISTED = 20  # images of the test set
_NEAR = 0.2  # between the two best probabilities, under which the second is told
_PHOTO = 224  # pixels: the longer side of a photo in the figure


Reader = Callable[[Sequence[str], bool | None, Shape], Digits]
"""What reads pictures, given their paths, whether ink is darker than paper, and the shape of the network's images."""


class Prediction(NamedTuple):
    """What a network takes an image for: the digit, or number of the class, and its probability in [0, 1].

    Attributes:
        digit: Number of the class.
        probability: In [0, 1].
        name: That of the class, where it is not its number.
        runner_up: The second best with its probability, where it is near; else "".
    """

    digit: int
    probability: float
    name: str = ""
    runner_up: str = ""


def build_parser(program: str, description: str) -> OneLineErrors:
    """The arguments of ``predict``: images, ckpt_path (a list), invert, data.*, output and figure."""
    parser = OneLineErrors(prog=f"{program} predict", description=description)
    parser.add_argument(
        "images",
        nargs="*",
        type=str,
        help="Pictures of digits, or folders of them: photos, scans or drawings; without any, the test set.",
    )
    parser.add_argument(
        "--ckpt_path",
        action="append",
        type=str,
        default=[],
        help="A run folder, last for the newest, or a checkpoint file.",
    )
    parser.add_switch("--invert", "Ink is darker than paper; told from each picture where it is not given.")
    parser.add_some(DataSettings, "data", "data_dir")
    known = f"Whose test set, and names of classes: {', '.join(KNOWN_SETS)}; by default that of the run."
    parser.add_argument("--data.dataset", type=KnownName | None, default=None, help=known)
    parser.add_argument("--data.file", type=str | None, default=None, help="An .npz file in place of those.")
    parser.add_argument(
        "--output", type=OutputFile(".csv", ".json"), default=None, help="A .csv or .json file in place of the table."
    )
    parser.add_argument(
        "--figure",
        type=OutputFile(".png"),
        default=None,
        help="A .png file for each picture, what was cut out of it, and what the network saw.",
    )
    return parser


def data_of(checkpoint: Path, config: Namespace) -> DataSettings:
    """The data set that the arguments name, else that of the run that a checkpoint lies in."""
    chosen = {name: config.data[name] for name in ("dataset", "file") if config.data[name] is not None}
    if not chosen and checkpoint.parent.name == CHECKPOINTS:
        kept = (read_config(checkpoint.parent.parent) or {}).get("data") or {}
        chosen = {name: kept[name] for name in ("dataset", "file") if name in kept}
    return DataSettings(data_dir=config.data.data_dir, **chosen)


def load_digits(
    shape: Shape, config: Namespace, data: DataSettings, read_pictures: Reader
) -> tuple[Digits, Sequence[str]]:
    """The images that the arguments name, or the test set where they name none, and the names of the classes.

    Args:
        shape: (height, width, channels) that the network takes.
        config: The arguments.
        data: The data set.
        read_pictures: Reads the images that the arguments name.

    Raises:
        UserError: No image could be read, or the data are missing.
    """
    if config.images:
        digits = read_pictures(config.images, config.invert, shape)
        return digits, KNOWN_SETS[data.dataset].classes if data.file is None else ()
    _, test = load_full_sets(data)
    return Digits([str(number) for number in range(len(test.labels))], test.images, test.labels), test.classes


def softmax(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """Logits to probabilities, both [n, classes]."""
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def from_logits(logits: NDArray[np.floating], classes: Sequence[str] = ()) -> list[Prediction]:
    """The prediction of each row of logits [n, classes], with the name of the class where it is known."""
    names = {number: name for number, name in enumerate(classes) if name != str(number)}
    predictions = []
    for row in softmax(logits):
        best, *others = map(int, np.argsort(-row, kind="stable")[:2])
        near = [f"{names.get(i, i)} ({row[i]:.2f})" for i in others if row[best] - row[i] < _NEAR]
        predictions.append(Prediction(best, float(row[best]), names.get(best, ""), "".join(near)))
    return predictions


def write_predictions(digits: Digits, predictions: Mapping[str, Sequence[Prediction]], config: Namespace) -> None:
    """Prints the table, or writes it where ``--output`` says, and draws ``--figure``.

    Args:
        digits: What was predicted.
        predictions: By the name of a framework, or of two, which then stand side by side.
        config: What the parser of ``build_parser`` gave.

    Raises:
        UserError: A file cannot be written.
    """
    records = _records(digits, predictions)
    if config.output is None:
        _print(records[: _MOST_LISTED if digits.labels is not None else None])
    elif config.output.endswith(".json"):
        atomic_write_text(config.output, json.dumps(records, indent=1) + "\n")
    else:
        with atomic_write(config.output) as aside, aside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, _columns(records))
            writer.writeheader()
            writer.writerows(records)
    if config.figure is not None:
        _draw(digits, predictions, config.figure)
    if digits.labels is not None:
        for name, column in predictions.items():
            right = sum(found.digit == label for found, label in zip(column, digits.labels, strict=True))
            print(f"{name}: {right} of {len(column)} test images right")
    for path in filter(None, (config.output, config.figure)):
        print(f"wrote {path}")


def _records(digits: Digits, predictions: Mapping[str, Sequence[Prediction]]) -> list[dict[str, Any]]:
    """One flat record for each image, its keys the columns of the table."""
    records = []
    for place, (file, *row) in enumerate(zip(digits.files, *predictions.values(), strict=True)):
        record: dict[str, Any] = {"file": file}
        if digits.labels is not None:
            record = {"image": place, "label": int(digits.labels[place])}
        for name, prediction in zip(predictions, row, strict=True):
            prefix = f"{name}_" if len(predictions) > 1 else ""
            record |= {f"{prefix}{field}": value for field, value in prediction._asdict().items() if value != ""}
        if len(predictions) > 1:
            record["differ"] = len({prediction.digit for prediction in row}) > 1
        records.append(record)
    return records


def _columns(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The fields of all records; not each has a name or a runner-up."""
    longest = max(records, key=len)
    return [*longest, *dict.fromkeys(field for record in records for field in record if field not in longest)]


def _print(records: Sequence[Mapping[str, Any]]) -> None:
    fields = _columns(records)
    header = [name.replace("_", " ") for name in fields]
    print_table([header, *([_cell(record.get(field, "")) for field in fields] for record in records)])


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


def check_input(path: Path, network: Network, came: Shape) -> None:
    """Raises ``UserError`` unless the network of a file takes images of the shape (height, width, channels)."""
    if network.input_shape != came:
        takes = times(network.input_shape)
        raise UserError(f"--ckpt_path: expected a network of {times(came)} images, got {path}, which takes {takes}")
