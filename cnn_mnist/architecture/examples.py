"""The packaged networks, by name."""

from cnn_mnist.architecture.layer_spec import LayerSpec
from cnn_mnist.architecture.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    LeakyReLU,
    MaxPooling2D,
    SeparableConv2D,
)
from cnn_mnist.architecture.network import Network


def _conv(filters: int, kernel_size: int, activation: str | None = "relu") -> Conv2D:
    return Conv2D(filters, kernel_size, activation=activation)


def _normalized(layer: LayerSpec) -> tuple[LayerSpec, ...]:
    return (layer, BatchNormalization(), Activation("relu"))


def _strided(filters: int) -> Conv2D:
    return Conv2D(filters, 3, strides=2, padding="same", activation="relu")


_LAYERS: dict[str, tuple[LayerSpec, ...]] = {
    "three_conv": (
        *(_conv(32, 3), MaxPooling2D(2), _conv(64, 3), MaxPooling2D(2), _conv(64, 3)),
        *(Flatten(), Dense(64, activation="relu"), Dense(10)),
    ),
    "conv5x5": (_conv(32, 5), MaxPooling2D(2), _conv(64, 5), MaxPooling2D(2), Flatten(), Dense(10)),
    # LeCun et al. 1998, in today's usual form.
    "lenet5": (
        *(Conv2D(6, 5, padding="same", activation="tanh"), AveragePooling2D(2)),
        *(_conv(16, 5, "tanh"), AveragePooling2D(2), Flatten()),
        *(Dense(120, activation="tanh"), Dense(84, activation="tanh"), Dense(10)),
    ),
    # Keras's example "Simple MNIST convnet".
    "mnist_convnet": (
        *(_conv(32, 3), MaxPooling2D(2), _conv(64, 3), MaxPooling2D(2)),
        *(Flatten(), Dropout(0.5), Dense(10)),
    ),
    # PyTorch's example "mnist".
    "pytorch_example": (
        *(_conv(32, 3), _conv(64, 3), MaxPooling2D(2), Dropout(0.25)),
        *(Flatten(), Dense(128, activation="relu"), Dropout(0.5), Dense(10)),
    ),
    "batch_norm": (
        *(*_normalized(Conv2D(32, 3, use_bias=False)), MaxPooling2D(2)),
        *(*_normalized(Conv2D(64, 3, use_bias=False)), MaxPooling2D(2)),
        *(Flatten(), Dense(10)),
    ),
    "all_convolutional": (
        *(_conv(32, 3), _strided(32), _conv(64, 3), _strided(64)),
        *(Conv2D(10, 1), GlobalAveragePooling2D()),
    ),
    "depthwise": (
        _conv(16, 3),
        *_normalized(DepthwiseConv2D(3, padding="same", use_bias=False)),
        *_normalized(Conv2D(32, 1, use_bias=False)),
        *(MaxPooling2D(2), SeparableConv2D(64, 3, activation="relu"), GlobalAveragePooling2D(), Dense(10)),
    ),
    "strided": (_strided(32), _strided(64), _strided(64), Flatten(), Dense(64, activation="relu"), Dense(10)),
    "leaky_average": (
        *(Conv2D(32, 3, padding="same"), LeakyReLU(), AveragePooling2D(2, padding="same")),
        *(Conv2D(64, 3, padding="same"), LeakyReLU(), AveragePooling2D(3, strides=2, padding="same")),
        *(Flatten(), Dense(10)),
    ),
}

EXAMPLES: dict[str, Network] = {name: Network(layers) for name, layers in _LAYERS.items()}
"""The packaged networks; all end in logits, since loss and predict apply the softmax."""
