"""Predicts the same images with a Keras network, a PyTorch network, or both."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.console import predict_input, predictions
from cnn_mnist.console.results import weights_line
from cnn_mnist.errors import expect
from cnn_mnist.frameworks import gc_paused
from cnn_mnist.neutral import say
from cnn_mnist.runs.folder import ENDINGS, KERAS, PYTORCH, find_checkpoint
from keras_parity.frameworks import RUN_NAMES, chosen_backend, importing_keras

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
    runs = RUN_NAMES[chosen_backend()]  # whose `last` is meant
    checkpoints = _by_framework([find_checkpoint(path, runs) for path in config.ckpt_path], config.source is not None)
    data = predict_input.data_of(list(checkpoints.values()), config)
    if len(checkpoints) > 1:
        import keras_parity.both_frameworks  # noqa: F401 - must precede both, see there
    sources = {framework: config.source if framework == PYTORCH else None for framework in checkpoints}
    shapes = {framework: predict_input.input_shape(path, sources[framework]) for framework, path in checkpoints.items()}
    # Reads the photos once for each input size: usually once.
    sizes = dict.fromkeys(shapes.values())
    read = {shape: predict_input.load_digits(shape, config, data, read_pictures) for shape in sizes}
    found = {}
    for framework, path in checkpoints.items():
        digits, classes = read[shapes[framework]]
        compute = _computed_by(framework, sources[framework])
        found[framework] = predictions.from_logits(compute(path, digits.images), classes)
    digits, _ = next(iter(read.values()))
    say("\n".join(map(weights_line, checkpoints.values())))
    predictions.write_predictions(digits, found, config)


def _computed_by(framework: str, source: str | None) -> Callable[[Path, NDArray[np.uint8]], NDArray[np.floating]]:
    """The function of a framework from checkpoint and images [n, height, width, channels] to logits [n, classes]."""
    if framework == KERAS:
        with importing_keras():
            from keras_parity.twin.predict import compute_logits
        return compute_logits
    with gc_paused():
        from cnn_mnist.pytorch.predict import compute_logits as compute_in_pytorch
    return partial(compute_in_pytorch, source=source)


def _by_framework(paths: list[Path], with_source: bool) -> dict[str, Path]:
    """The checkpoints by framework, in the typed order; raises ``UserError`` unless there is at most one of each.

    A user's own module takes the weights of any file of PyTorch, and there must be one for it.
    """
    of_ending = {ending: framework for framework, ending in ENDINGS.items()}
    if with_source:
        of_ending |= dict.fromkeys((".pt", ".pth", ".safetensors"), PYTORCH)
    found = {of_ending.get(path.suffix, str(path)): path for path in paths}
    right = bool(found) and found.keys() <= ENDINGS.keys() and len(found) == len(paths)
    known = f"a run folder, a {ENDINGS[KERAS]} file, a {ENDINGS[PYTORCH]} file, or one of each framework"
    expect("--ckpt_path", right, known, " and ".join(map(str, paths)) or "none")
    in_pytorch = PYTORCH in found or not with_source
    expect("--source", in_pytorch, "a PyTorch file with the weights of the module", paths[0])
    return found
