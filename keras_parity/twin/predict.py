"""Computes the logits of a trained network in Keras."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.descriptions import read_network
from cnn_mnist.console.predict_input import check_input
from cnn_mnist.data import mnist
from cnn_mnist.data.splits import evaluation_batch_size
from keras_parity.twin.checkpoints import read_model
from keras_parity.twin.engines import ENGINE


def compute_logits(path: Path, images: NDArray[np.uint8]) -> NDArray[np.floating]:
    """Computes the logits of a saved network.

    Args:
        path: A ``.keras`` file.
        images: Images, uint8 [n, height, width, channels].

    Returns:
        The logits [n, classes].

    Raises:
        UserError: The file holds no network for such images.
    """
    check_input(path, read_network(str(path)), images.shape[1:])
    return logits_of(read_model(path), mnist.scale(images))


def logits_of(model: Any, images: NDArray[np.floating]) -> NDArray[np.floating]:
    """Computes the logits of a loaded model; of a model with a softmax, the logarithms of its probabilities.

    Args:
        model: A sequential model.
        images: Images in [0, 1], [n, height, width, channels].

    Returns:
        The logits [n, classes].
    """
    with ENGINE.float64():
        outputs = model.predict(images, batch_size=evaluation_batch_size(images.shape[1:]), verbose=0)
    last = model.layers[-1]
    kind = getattr(getattr(last, "activation", None), "__name__", type(last).__name__)
    return np.log(np.maximum(outputs, np.finfo(outputs.dtype).tiny)) if kind.lower() == "softmax" else outputs
