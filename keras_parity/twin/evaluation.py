"""Evaluates a network: logits, loss and accuracy from one pass over a split."""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from cnn_mnist.runs.tags import METRICS
from cnn_mnist.settings import ModelSettings
from keras_parity.twin.losses import make_loss


def evaluate(
    model: keras.Model, settings: ModelSettings, batches: Any, labels: NDArray, callback: Any = None
) -> tuple[dict[str, float], NDArray[np.floating]]:
    """Evaluates a network in one pass.

    ``Model.evaluate`` would give only the figures, and trace a second graph.

    Args:
        model: The network; sets its ``steps_per_execution`` to 1, because more steps would be unrolled in the graph.
        settings: The settings of the loss.
        batches: The images, see ``evaluation_batches``.
        labels: The labels, integers [n].
        callback: A Keras callback; None for none.

    Returns:
        Loss in nats and accuracy in [0, 1], by ``METRICS``; and the logits [n, classes].
    """
    model.steps_per_execution = 1
    callbacks = [callback] if callback else None
    logits = model.predict(batches, verbose=0, callbacks=callbacks).astype(keras.config.floatx())
    labels = labels.astype(np.int64)
    loss = float(keras.ops.mean(make_loss(settings)(labels, keras.ops.convert_to_tensor(logits))))
    return dict(zip(METRICS, (loss, float(np.mean(logits.argmax(axis=1) == labels))), strict=True)), logits
