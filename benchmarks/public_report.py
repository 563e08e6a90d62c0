"""``python -m benchmarks.public_report``: one model of a public report on each of Keras's backends.

keras-team/keras issue 20713: an MNIST network reaches 98% to 99% on TensorFlow and JAX, and less than 90% on PyTorch.
For each backend, prints the verdict of ``check`` against the same network in PyTorch, and the test accuracy after an
epoch of the stock ``fit``.
"""

import os
import subprocess
import sys

from keras_parity.frameworks import RUN_NAMES


def main(backend: str) -> None:
    """Checks and trains the model on one backend, in this process."""
    import keras_parity as kp  # isort: skip
    import keras
    import numpy as np
    import torch
    from torch import nn

    from cnn_mnist.data.mnist import load_mnist, scale
    from keras_parity import check  # imports PyTorch and Keras in the order that does not crash

    keras.utils.set_random_seed(0)
    data = load_mnist("data")
    images, labels = scale(data.train_images)[..., None], data.train_labels.astype("int64")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            *(layers.Conv2D(32, 3, activation="relu"), layers.MaxPooling2D(2)),
            *(layers.Conv2D(64, 3, activation="relu"), layers.MaxPooling2D(2)),
            *(layers.Flatten(), layers.Dense(10, activation="softmax")),
        ]
    )
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    first, second, last = (layer for layer in model.layers if layer.weights)
    convolutions = nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3)
    rows_first = nn.Linear(1600, 10)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = *convolutions, rows_first

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            for convolution in (self.first, self.second):
                batch = nn.functional.max_pool2d(torch.relu(convolution(batch)), 2)
            return self.last(batch.permute(0, 2, 3, 1).flatten(1)).log_softmax(-1).exp()

    network = Network()
    arrays = [keras.ops.convert_to_numpy(layer.kernel) for layer in (first, second, last)]
    with torch.no_grad():
        for convolution, array in zip(convolutions, arrays, strict=False):
            convolution.weight.copy_(torch.from_numpy(array.transpose(3, 2, 0, 1).copy()))
        rows_first.weight.copy_(torch.from_numpy(arrays[-1].T.copy()))
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    report = check(
        network,
        model,
        images[:640],
        labels[:640],
        torch_optimizer=torch.optim.SGD(network.parameters(), 0.01),
        torch_loss=lambda output, target: nn.functional.nll_loss(output.log(), target),
        steps=20,
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, labels, batch_size=128, epochs=1, verbose=0)
    tests = scale(data.test_images)[..., None], data.test_labels.astype("int64")
    accuracy = model.evaluate(*tests, batch_size=1000, verbose=0, return_dict=True)["accuracy"]
    print(f"{backend}: {np.round(accuracy, 4)} after one epoch; {report.verdict} (keras_parity {kp.__version__})")


if __name__ == "__main__":
    if sys.argv[1:]:
        main(sys.argv[1])
    else:
        for backend in RUN_NAMES:
            environment = os.environ | {"KERAS_BACKEND": backend}
            subprocess.run([sys.executable, "-m", "benchmarks.public_report", backend], env=environment, check=True)
