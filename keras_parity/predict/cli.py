"""Predicts the same images with a Keras network, a PyTorch network, or both."""

from functools import partial
from pathlib import Path

from cnn_mnist.console import predict_input
from cnn_mnist.errors import expect
from cnn_mnist.frameworks import gc_paused
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
    if len(checkpoints) > 1:
        import keras_parity.both_frameworks  # noqa: F401 - must precede both, see there
    predict_input.predict(checkpoints, config, read_pictures, partial(_computed_by, source=config.source))


def _computed_by(framework: str, source: str | None) -> predict_input.Compute:
    """Imports a framework."""
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
