"""``python -m cnn_mnist predict [IMAGE...]``: the user's own digits, or the test set, in PyTorch."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_mnist.architecture.trace import layers_of
from cnn_mnist.console import predictions
from cnn_mnist.console.arguments import OneLineErrors
from cnn_mnist.data import mnist
from cnn_mnist.data.splits import EVALUATION_BATCH_SIZE
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.checkpoints import read_checkpoint
from cnn_mnist.pytorch.network import build_network
from cnn_mnist.runs.folder import PYTORCH, find_checkpoint


def build_parser() -> OneLineErrors:
    """The arguments of ``predict``."""
    return predictions.build_parser(
        "python -m cnn_mnist", "Predicts your own digits, or the test set, with a trained network."
    )


def main(args: list[str]) -> None:
    """Predicts the images that the arguments after ``predict`` name, and prints or writes the predictions.

    Raises:
        UserError: A mistake that the user can mend.
    """
    config = build_parser().parse_args(args)
    if len(config.ckpt_path) != 1:
        raise UserError(
            f"--ckpt_path: expected one trained network, a run folder or a .ckpt file, got {len(config.ckpt_path)}; "
            "python -m keras_parity predict sets two side by side"
        )
    checkpoint = find_checkpoint(config.ckpt_path[0], PYTORCH)
    digits = predictions.load_digits(config)
    found = predictions.from_logits(compute_logits(checkpoint, digits.images))
    predictions.put_out(digits, {PYTORCH: found}, config)


def compute_logits(path: Path, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The logits [n, 10] of images [n, 28, 28], by the network of a checkpoint.

    Raises:
        UserError: The file is no checkpoint of this project.
    """
    checkpoint = read_checkpoint(path)
    network = build_network(layers_of(checkpoint["hyper_parameters"]["architecture"]))
    weights = checkpoint["state_dict"]
    network.load_state_dict({name.removeprefix("network."): tensor for name, tensor in weights.items()})
    batches = torch.from_numpy(mnist.scale(images)).unsqueeze(1).split(EVALUATION_BATCH_SIZE)
    with torch.inference_mode():
        return torch.cat([network(batch) for batch in batches]).numpy()
