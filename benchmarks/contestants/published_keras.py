"""The published Keras loop: ``fit`` on float arrays with one-hot labels.

A process: ``python -m benchmarks.contestants.published_keras DATA_DIR [STEPS]``; times its second epoch of 300 steps,
or of STEPS steps. ``KERAS_BACKEND`` chooses the backend, by default TensorFlow.
"""

import json
import os
import sys
import time

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from keras import layers

from benchmarks.contestants import BATCH_SIZE, STEPS
from cnn_mnist.data import mnist


class Clock(keras.callbacks.Callback):
    """Seconds of the last epoch."""

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        """Starts."""
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        """Stops."""
        self.seconds = time.perf_counter() - self.start


def main(data_dir: str, steps: int = STEPS) -> None:
    """Trains two epochs."""
    keras.utils.set_random_seed(0)
    data = mnist.load_mnist(data_dir)
    images = data.train_images[: steps * BATCH_SIZE].reshape(-1, 28, 28, 1).astype("float32") / 255
    labels = keras.utils.to_categorical(data.train_labels[: steps * BATCH_SIZE])
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            *(layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2)),
            *(layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2)),
            layers.Conv2D(64, 3, activation="relu"),
            *(layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dense(10, activation="softmax")),
        ]
    )
    model.compile(optimizer="rmsprop", loss="categorical_crossentropy", metrics=["accuracy"])
    clock = Clock()
    model.fit(images, labels, epochs=2, batch_size=BATCH_SIZE, callbacks=[clock])
    print(f"\n{json.dumps({'milliseconds': 1e3 * clock.seconds / steps})}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
