"""The Keras optimizer that the settings name.

First floor, Keras: imported by the twin's training and, above, by the converter and the ladder.
"""

import keras

from cnn_mnist.settings import ModelSettings


def make_optimizer(settings: ModelSettings) -> keras.Optimizer:
    """Keras's own optimizer with every setting given, since the defaults of the frameworks differ."""
    s = settings
    if s.optimizer == "adamw":
        return keras.optimizers.AdamW(s.learning_rate, s.weight_decay, s.beta_1, s.beta_2, s.epsilon)
    decay = s.weight_decay or None
    if s.optimizer == "rmsprop":
        return keras.optimizers.RMSprop(s.learning_rate, s.rho, s.momentum, s.epsilon, s.centered, weight_decay=decay)
    if s.optimizer == "sgd":
        return keras.optimizers.SGD(s.learning_rate, s.momentum, s.nesterov, weight_decay=decay)
    return keras.optimizers.Adam(s.learning_rate, s.beta_1, s.beta_2, s.epsilon, weight_decay=decay)
