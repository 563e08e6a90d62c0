"""The logits of a trained network in Keras."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.descriptions import read_network
from cnn_mnist.console.predict_input import check_input
from cnn_mnist.data import mnist
from cnn_mnist.data.splits import evaluation_batch_size
from keras_parity.twin.checkpoints import read_model


def compute_logits(path: Path, images: NDArray[np.uint8]) -> NDArray[np.floating]:
    """The logits [n, classes] of images uint8 [n, height, width, channels], by the network of a ``.keras`` file.

    Raises:
        UserError: The file holds no such network.
    """
    check_input(path, read_network(str(path)), images.shape[1:])
    return logits_of(read_model(path), mnist.scale(images))


def logits_of(model: Any, images: NDArray[np.floating]) -> NDArray[np.floating]:
    """What a loaded model computes of images [n, height, width, channels]; probabilities as their logarithms."""
    outputs = model.predict(images, batch_size=evaluation_batch_size(images.shape[1:]), verbose=0)
    last = model.layers[-1]
    kind = getattr(getattr(last, "activation", None), "__name__", type(last).__name__)
    return np.log(np.maximum(outputs, np.finfo(outputs.dtype).tiny)) if kind.lower() == "softmax" else outputs
