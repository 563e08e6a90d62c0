"""Arguments, images and course of ``predict``, the same in both frameworks."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jsonargparse import Namespace
from numpy.typing import NDArray

from cnn_mnist.architecture.descriptions import read_network
from cnn_mnist.architecture.layer_spec import Shape, times
from cnn_mnist.architecture.network import IMAGE_SHAPE, Network
from cnn_mnist.console.arguments import OneLineErrors, OutputFile
from cnn_mnist.console.predictions import from_logits, write_predictions
from cnn_mnist.console.results import weights_line
from cnn_mnist.console.run_settings import say_if_changed
from cnn_mnist.data.known_sets import KNOWN_SETS
from cnn_mnist.data.splits import Digits, load_full_sets
from cnn_mnist.errors import expect
from cnn_mnist.neutral import say
from cnn_mnist.runs.folder import CHECKPOINTS, PYTORCH, read_settings
from cnn_mnist.settings import DataSettings, KnownName

CKPT_PATH = "A run folder, `last` for the newest run, or a checkpoint file."
"""Help of ``--ckpt_path`` in every command."""

SOURCE = "Your own PyTorch module, as FILE.py:CLASS: the file runs, and the module takes the PyTorch weights."
"""Help of ``--source`` in every command."""

Reader = Callable[[Sequence[str], bool | None, Shape], Digits]
"""Reads pictures. Arguments: paths, whether ink is darker than paper (None: detect), shape of the network's images."""


Compute = Callable[[Path, NDArray[np.uint8]], NDArray[np.floating]]
"""Computes the logits [n, classes] of a checkpoint for images [n, height, width, channels]."""


def build_parser(program: str, description: str) -> OneLineErrors:
    """Builds the parser of ``predict``.

    Args:
        program: The package's command, for example ``"python -m cnn_mnist"``.
        description: First line of the help.

    Returns:
        A parser of images, ckpt_path (a list), invert, data.*, output and figure.
    """
    parser = OneLineErrors(prog=f"{program} predict", description=description)
    images = "Photos, scans or drawings of digits, or folders of them (default: the test set)."
    parser.add_argument("images", nargs="*", type=str, help=images)
    parser.add_argument("--ckpt_path", action="append", type=str, default=[], help=CKPT_PATH)
    parser.add_argument("--source", type=str | None, default=None, help=SOURCE)
    parser.add_switch("--invert", "Treat ink as darker than paper (default: detect).")
    parser.add_some(DataSettings, "data", "data_dir")
    known = f"Data set of the test images and class names: {', '.join(KNOWN_SETS)} (default: the run's)."
    parser.add_argument("--data.dataset", type=KnownName | None, default=None, help=known)
    parser.add_argument("--data.file", type=str | None, default=None, help="An .npz file instead of a known data set.")
    output = "A .csv or .json file instead of the table."
    parser.add_argument("--output", type=OutputFile(".csv", ".json"), default=None, help=output)
    figure = "A .png file that shows each picture, the part that was cut out, and the network's input."
    parser.add_argument("--figure", type=OutputFile(".png"), default=None, help=figure)
    return parser


def data_of(checkpoints: Sequence[Path], config: Namespace) -> DataSettings:
    """Returns the data set that the arguments name, otherwise the one of the first checkpoint's run.

    Gives a ``UserNotice`` about each run whose own data file has changed, if the test set is predicted.
    """
    checkpoint = checkpoints[0]
    chosen = {name: config.data[name] for name in ("dataset", "file") if config.data[name] is not None}
    if not chosen and checkpoint.parent.name == CHECKPOINTS:
        saved = (read_settings(checkpoint.parent.parent) or {}).get("data") or {}
        chosen = {name: saved[name] for name in ("dataset", "file", "channels_first") if name in saved}
    for path in () if config.images else checkpoints:
        say_if_changed(path.parent.parent, chosen.get("file"))
    return DataSettings(data_dir=config.data.data_dir, **chosen)


def input_shape(checkpoint: Path, source: str | None) -> Shape:
    """Returns the shape of a network's images, as the checkpoint describes it; MNIST's for a user's own module."""
    return read_network(str(checkpoint)).input_shape if source is None else IMAGE_SHAPE


def load_digits(
    shape: Shape, config: Namespace, data: DataSettings, read_pictures: Reader
) -> tuple[Digits, Sequence[str]]:
    """Loads the images that the arguments name, by default the test set.

    Args:
        shape: (height, width, channels) of the network's input.
        config: The parsed arguments.
        data: The data set.
        read_pictures: Reads the named pictures.

    Returns:
        The images, and the names of the classes.

    Raises:
        UserError: No image could be read, or the data are missing.
    """
    if config.images:
        digits = read_pictures(config.images, config.invert, shape)
        return digits, KNOWN_SETS[data.dataset].classes if data.file is None else ()
    _, test = load_full_sets(data)
    return Digits([str(number) for number in range(len(test.labels))], test.images, test.labels), test.classes


def predict(
    checkpoints: Mapping[str, Path], config: Namespace, read_pictures: Reader, computed_by: Callable[[str], Compute]
) -> None:
    """Predicts the same images with each network, and prints or writes the predictions.

    Args:
        checkpoints: The networks of one framework or of two, by its name.
        config: The parsed arguments.
        read_pictures: Reads the named pictures.
        computed_by: Computes the logits of a framework's checkpoint.

    Raises:
        UserError: A file cannot be read or written.
    """
    data = data_of(list(checkpoints.values()), config)
    sources = {framework: config.source if framework == PYTORCH else None for framework in checkpoints}
    shapes = {framework: input_shape(path, sources[framework]) for framework, path in checkpoints.items()}
    # Reads the photos once for each input size: usually once.
    read = {shape: load_digits(shape, config, data, read_pictures) for shape in dict.fromkeys(shapes.values())}
    found = {}
    for framework, path in checkpoints.items():
        digits, classes = read[shapes[framework]]
        found[framework] = from_logits(computed_by(framework)(path, digits.images), classes)
    digits, _ = next(iter(read.values()))
    say("\n".join(map(weights_line, checkpoints.values())))
    write_predictions(digits, found, config)


def check_input(path: Path, network: Network, shape: Shape) -> None:
    """Raises ``UserError`` unless the network of a file takes images of the shape (height, width, channels)."""
    came = f"{path}, which takes {times(network.input_shape)}"
    expect("--ckpt_path", network.input_shape == shape, f"a network for {times(shape)} images", came)
