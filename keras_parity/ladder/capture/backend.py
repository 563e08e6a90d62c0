"""TensorFlow, for what records or changes a Keras model's layers; the verdict needs none of this."""

import keras

from cnn_mnist.errors import UserError

if keras.config.backend() != "tensorflow":
    raise UserError(
        f"expected Keras on tensorflow, got Keras on {keras.config.backend()}: the ladder and its Port run on "
        "TensorFlow alone; set KERAS_BACKEND=tensorflow, or call keras_parity.check, which judges models on any backend"
    )

import tensorflow as tf

__all__ = ["tf"]
