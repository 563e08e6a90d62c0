"""``python -m cnn_mnist predict [IMAGE...]``: predicts your own digits or the test set in PyTorch."""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.descriptions import read_network
from cnn_mnist.console import predict_input
from cnn_mnist.errors import UserError, expect
from cnn_mnist.pytorch import own_module
from cnn_mnist.pytorch.checkpoints import read_checkpoint
from cnn_mnist.pytorch.loader import outputs_of, to_tensor
from cnn_mnist.pytorch.network import build_network
from cnn_mnist.runs.folder import PYTORCH, find_checkpoint


def main(args: list[str], read_pictures: predict_input.Reader) -> None:
    """Runs ``predict``.

    Args:
        args: The arguments after the command.
        read_pictures: Reads the named pictures.

    Raises:
        UserError: A mistake that the user can fix.
    """
    purpose = "Predicts your own digits, or the test set, with a trained network."
    config = predict_input.build_parser("python -m cnn_mnist", purpose).parse_args(args)
    if not config.ckpt_path:
        raise UserError("--ckpt_path is required: expected a run folder or a .ckpt file, got none")
    came = f"{len(config.ckpt_path)}; python -m keras_parity predict compares two"
    expect("--ckpt_path", len(config.ckpt_path) == 1, "one trained network", came)
    checkpoint = find_checkpoint(config.ckpt_path[0], PYTORCH)
    if config.source is None:
        read_checkpoint(checkpoint)  # names what is wrong with it
    compute = partial(compute_logits, source=config.source)
    predict_input.predict({PYTORCH: checkpoint}, config, read_pictures, lambda _: compute)


def compute_logits(path: Path, images: NDArray[np.uint8], source: str | None = None) -> NDArray[np.floating]:
    """Computes logits with the network of a checkpoint.

    Args:
        path: The checkpoint.
        images: uint8 [n, height, width, channels].
        source: The user's own module, as ``FILE.py:CLASS``, which takes the weights of any PyTorch file.

    Returns:
        float32 [n, classes].

    Raises:
        UserError: The file is not a checkpoint of this project, or its network takes other images.
    """
    if source is not None:
        return own_module.predict(source, path, images)
    checkpoint = read_checkpoint(path)
    settings = checkpoint["hyper_parameters"]
    described = read_network(settings["architecture"])
    predict_input.check_input(path, described, images.shape[1:])
    network = build_network(described, settings.get("align", "keras")).eval()
    weights = checkpoint["state_dict"]
    network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in weights.items()})
    return outputs_of(network, to_tensor(images))
