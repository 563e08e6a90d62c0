"""Evaluates a network: logits, loss and accuracy out of one pass over a split."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from cnn_mnist.runs.tags import METRICS
from cnn_mnist.settings import ModelSettings
from keras_parity.twin.losses import make_loss


def evaluate(
    model: keras.Model, settings: ModelSettings, batches: tf.data.Dataset, labels: NDArray, callback: Any = None
) -> tuple[dict[str, float], NDArray[np.floating]]:
    """Loss in nats and accuracy in [0, 1], by ``METRICS``, and the logits [n, classes] that give them.

    ``Model.evaluate`` would give the figures alone, by a graph that is traced beside that of ``Model.predict``.

    Args:
        model: The network; its ``steps_per_execution`` is 1 from here on, since more would be unrolled in the graph.
        settings: Those of its loss.
        batches: The images, see ``evaluation_batches``.
        labels: The labels [n], integers.
        callback: One of Keras's.
    """
    model.steps_per_execution = 1
    callbacks = [callback] if callback else None
    logits = model.predict(batches, verbose=0, callbacks=callbacks).astype(keras.config.floatx())
    labels = labels.astype(np.int64)
    loss = float(keras.ops.mean(make_loss(settings)(labels, keras.ops.convert_to_tensor(logits))))
    return dict(zip(METRICS, (loss, float(np.mean(logits.argmax(axis=1) == labels))), strict=True)), logits
