"""``python -m cnn_mnist predict IMAGE...``: the user's own digits, read in PyTorch."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_mnist.architecture.trace import layers_of
from cnn_mnist.console import predictions
from cnn_mnist.data import mnist
from cnn_mnist.data.digits import read_digits
from cnn_mnist.data.splits import EVALUATION_BATCH_SIZE
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.checkpoints import read_checkpoint
from cnn_mnist.pytorch.network import build_network
from cnn_mnist.runs.folder import PYTORCH, find_checkpoint


def main(args: list[str]) -> None:
    """Reads the arguments after ``predict``, the images and their digits, and puts these out.

    Raises:
        UserError: A mistake that the user can mend.
    """
    config = predictions.parse("python -m cnn_mnist", "Reads your own digits with a trained network.", args)
    if len(config.ckpt_path) > 1:
        raise UserError(
            f"--ckpt_path: expected one network, got {len(config.ckpt_path)}; "
            "python -m keras_parity predict sets two side by side"
        )
    checkpoint = find_checkpoint(config.ckpt_path[0], PYTORCH)
    digits = read_digits(config.images, config.invert)
    predictions.put_out(digits, {PYTORCH: predictions.read(compute_logits(checkpoint, digits.images))}, config)


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
