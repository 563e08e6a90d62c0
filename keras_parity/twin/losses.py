"""The losses of the twin."""

from functools import partial
from typing import Any

import keras

from cnn_mnist.settings import ModelSettings


def make_loss(settings: ModelSettings) -> Any:
    """The loss that the settings name; it takes integer labels and logits."""
    if settings.label_smoothing:
        return partial(_smoothed_cross_entropy, smoothing=settings.label_smoothing)
    return _cross_entropy_of_softmax if settings.softmax_before_loss else cross_entropy()


def cross_entropy() -> keras.Loss:
    """Keras's own cross-entropy from logits."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _smoothed_cross_entropy(labels: Any, logits: Any, smoothing: float) -> Any:
    targets = keras.ops.one_hot(keras.ops.reshape(labels, (-1,)), logits.shape[-1], dtype=logits.dtype)
    return keras.losses.categorical_crossentropy(targets, logits, from_logits=True, label_smoothing=smoothing)


def _cross_entropy_of_softmax(labels: Any, logits: Any) -> Any:
    """Softmax twice, written out: Keras removes a softmax that it finds before its own loss."""
    probabilities = keras.ops.softmax(logits)
    chosen = keras.ops.one_hot(keras.ops.reshape(labels, (-1,)), logits.shape[-1], dtype=probabilities.dtype)
    return keras.ops.logsumexp(probabilities, axis=-1) - keras.ops.sum(probabilities * chosen, axis=-1)
