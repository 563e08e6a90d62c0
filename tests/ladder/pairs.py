"""Three small networks in both frameworks, equal until a fault changes them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from torch import Tensor, nn

L = keras.layers
SIDE, CHANNELS, CLASSES = 12, 3, 10


class Plain(nn.Module):
    """Two convolutions, pooling, flatten, three dense layers, one of them square."""

    def __init__(self):
        super().__init__()
        self.conv1, self.act1, self.pool = nn.Conv2d(CHANNELS, 8, 3), nn.ReLU(), nn.MaxPool2d(2)
        self.conv2, self.act2 = nn.Conv2d(8, 8, 3, padding=1), nn.LeakyReLU(0.3)
        self.fc1, self.act3, self.fc2, self.act4 = nn.Linear(200, 16), nn.GELU(), nn.Linear(16, 16), nn.Tanh()
        self.fc3 = nn.Linear(16, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Images [batch, 3, 12, 12]."""
        images = self.act2(self.conv2(self.pool(self.act1(self.conv1(images)))))
        return self.fc3(self.act4(self.fc2(self.act3(self.fc1(images.flatten(1))))))


def plain_twin() -> keras.Model:
    """``Plain`` in Keras's usual style."""
    layers = [
        L.Conv2D(8, 3, activation="relu", name="one"), L.MaxPooling2D(2, name="pooled"),
        L.Conv2D(8, 3, padding="same", name="two"), L.LeakyReLU(0.3), L.Flatten(),
        L.Dense(16, activation="gelu", name="three"), L.Dense(16, activation="tanh", name="four"),
        L.Dense(CLASSES, name="five"),
    ]  # fmt: skip
    return keras.Sequential([keras.Input((SIDE, SIDE, CHANNELS)), *layers])


class Residual(nn.Module):
    """A stem, a block with a strided convolution as shortcut, global pooling."""

    def __init__(self):
        super().__init__()
        norm = {"eps": 1e-3, "momentum": 0.01}
        self.stem, self.bn1, self.act1 = nn.Conv2d(CHANNELS, 8, 3, padding=1), nn.BatchNorm2d(8, **norm), nn.ReLU()
        self.conv1, self.bn2, self.act2 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8, **norm), nn.ReLU()
        self.conv2, self.bn3 = nn.Conv2d(8, 8, 1, stride=2), nn.BatchNorm2d(8, **norm)
        self.shortcut = nn.Conv2d(8, 8, 1, stride=2)
        self.act3, self.pool, self.fc = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Images [batch, 3, 12, 12]."""
        images = self.act1(self.bn1(self.stem(images)))
        inner = self.bn3(self.conv2(self.act2(self.bn2(self.conv1(images)))))
        return self.fc(self.pool(self.act3(inner + self.shortcut(images))).flatten(1))


def residual_twin() -> keras.Model:
    """``Residual`` as a functional model."""
    images = keras.Input((SIDE, SIDE, CHANNELS))
    stem = L.ReLU()(L.BatchNormalization(name="norm1")(L.Conv2D(8, 3, padding="same", name="stem_conv")(images)))
    inner = L.ReLU()(L.BatchNormalization(name="norm2")(L.Conv2D(8, 3, padding="same", name="block_conv1")(stem)))
    inner = L.BatchNormalization(name="norm3")(L.Conv2D(8, 1, strides=2, name="block_conv2")(inner))
    out = L.ReLU()(L.Add()([inner, L.Conv2D(8, 1, strides=2, name="projection")(stem)]))
    return keras.Model(images, L.Dense(CLASSES, name="head")(L.GlobalAveragePooling2D()(out)))


class Mobile(nn.Module):
    """A depthwise and a pointwise convolution, ReLU6, an average that ignores padding, layer norm."""

    def __init__(self):
        super().__init__()
        self.pad, self.stem, self.act1 = nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(CHANNELS, 8, 3, stride=2), nn.ReLU6()
        self.depthwise, self.act2 = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.SiLU()
        self.pointwise, self.act3 = nn.Conv2d(8, 12, 1), nn.ReLU6()
        self.pool = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        self.fc1, self.norm, self.fc2 = nn.Linear(432, 16), nn.LayerNorm(16, eps=1e-3), nn.Linear(16, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Images [batch, 3, 12, 12]."""
        images = self.act1(self.stem(self.pad(images)))
        images = self.pool(self.act3(self.pointwise(self.act2(self.depthwise(images)))))
        return self.fc2(self.norm(self.fc1(images.flatten(1))))


def mobile_twin() -> keras.Model:
    """``Mobile`` as a stack."""
    layers = [
        L.Conv2D(8, 3, strides=2, padding="same", activation="relu6", name="stem_conv"),
        L.DepthwiseConv2D(3, padding="same", activation="silu", name="deep"),
        L.Conv2D(12, 1, activation="relu6", name="point"), L.AveragePooling2D(3, 1, padding="same", name="mean"),
        L.Flatten(), L.Dense(16, name="hidden"), L.LayerNormalization(name="normed"), L.Dense(CLASSES, name="head"),
    ]  # fmt: skip
    return keras.Sequential([keras.Input((SIDE, SIDE, CHANNELS)), *layers])


NETWORKS: dict[str, tuple[type[nn.Module], Callable[[], keras.Model]]] = {
    "plain": (Plain, plain_twin),
    "residual": (Residual, residual_twin),
    "mobile": (Mobile, mobile_twin),
}


@dataclass
class Given:
    """The arguments of ``check``; a fault changes some of them.

    Attributes:
        torch_model: One of ``NETWORKS``, with Keras's weights.
        keras_model: Its twin; biases and norms are random, so that no two are equal.
        images: float32 [count, 12, 12, 3], as Keras takes them.
        labels: Integers [count].
        words: Further arguments of ``check``.
    """

    torch_model: Any
    keras_model: Any
    images: np.ndarray
    labels: np.ndarray
    words: dict[str, Any] = field(default_factory=dict)


def make(network: str, copy: Callable[[keras.Model, nn.Module], None]) -> Given:
    """Builds both sides of a network; ``copy`` copies Keras's weights to PyTorch."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    torch_model, keras_model = (build() for build in NETWORKS[network])
    for weight in keras_model.weights:
        if weight.path.endswith(("bias", "beta", "gamma", "moving_mean", "moving_variance")):
            weight.assign(weight.numpy() + random.uniform(0.05, 0.3, weight.shape))
    copy(keras_model, torch_model)
    images = random.random((64, SIDE, SIDE, CHANNELS), dtype=np.float32)
    return Given(torch_model, keras_model, images, random.integers(0, CLASSES, 64), {"batch_size": 16, "steps": 4})
