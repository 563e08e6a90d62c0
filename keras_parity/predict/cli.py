"""Predicts the same images with a Keras network, a PyTorch network, or both."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.descriptions import read_network
from cnn_mnist.console import predict_input, predictions
from cnn_mnist.console.results import weights_line
from cnn_mnist.errors import UserError
from cnn_mnist.frameworks import gc_paused
from cnn_mnist.neutral import say
from cnn_mnist.runs.folder import ENDINGS, KERAS, PYTORCH, find_checkpoint
from keras_parity.frameworks import importing_keras

DESCRIPTION = """Predicts your own digits, or the test set, with a trained network.
Two --ckpt_path, one of each framework, print both predictions side by side."""


def main(args: list[str], read_pictures: predict_input.Reader) -> None:
    """Predicts images, and prints or writes the predictions.

    Args:
        args: The arguments after ``predict``.
        read_pictures: Reads the user's pictures.

    Raises:
        UserError: The arguments are wrong, or a file cannot be read.
    """
    config = predict_input.build_parser("python -m keras_parity", DESCRIPTION).parse_args(args)
    checkpoints = _by_framework([find_checkpoint(path, KERAS) for path in config.ckpt_path])
    data = predict_input.data_of(next(iter(checkpoints.values())), config)
    if len(checkpoints) > 1:
        import keras_parity.both_frameworks  # noqa: F401 - must precede both, see there
    shapes = {framework: read_network(str(path)).input_shape for framework, path in checkpoints.items()}
    # Reads the photos once for each input size: usually once.
    sizes = dict.fromkeys(shapes.values())
    read = {shape: predict_input.load_digits(shape, config, data, read_pictures) for shape in sizes}
    found = {}
    for framework, path in checkpoints.items():
        digits, classes = read[shapes[framework]]
        found[framework] = predictions.from_logits(_computed_by(framework)(path, digits.images), classes)
    digits, _ = next(iter(read.values()))
    say("\n".join(map(weights_line, checkpoints.values())))
    predictions.write_predictions(digits, found, config)


def _computed_by(framework: str) -> Callable[[Path, NDArray[np.uint8]], NDArray[np.floating]]:
    """The function of a framework from checkpoint and images [n, height, width, channels] to logits [n, classes]."""
    if framework == KERAS:
        with importing_keras():
            from keras_parity.twin.predict import compute_logits
        return compute_logits
    with gc_paused():
        from cnn_mnist.pytorch.predict import compute_logits as compute_in_pytorch
    return compute_in_pytorch


def _by_framework(paths: list[Path]) -> dict[str, Path]:
    """The checkpoints by framework, in the typed order; raises ``UserError`` unless there is at most one of each."""
    of_ending = {ending: framework for framework, ending in ENDINGS.items()}
    found = {of_ending.get(path.suffix, str(path)): path for path in paths}
    if not found or found.keys() - ENDINGS.keys() or len(found) < len(paths):
        typed = " and ".join(map(str, paths)) or "none"
        raise UserError(
            f"--ckpt_path: expected a run folder, a {ENDINGS[KERAS]} file, a {ENDINGS[PYTORCH]} file, or one of each "
            f"framework, got {typed}"
        )
    return found
