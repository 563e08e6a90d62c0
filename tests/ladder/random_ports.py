"""Random networks of 5 to 50 layers, ported right: the same program run by a torch module and by a Keras model."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch
from torch import Tensor, nn

L = keras.layers
SIDE, CLASSES = 12, 7

ACTIVATIONS: list[tuple[Callable[[], nn.Module], str]] = [
    (nn.ReLU, "relu"), (nn.GELU, "gelu"), (nn.Tanh, "tanh"), (nn.SiLU, "silu"), (nn.ELU, "elu"), (nn.Sigmoid, "sigmoid")
]  # fmt: skip


class Program(nn.Module):
    """Steps of (name of a layer or join, indices of its inputs); each result gets the next index."""

    def __init__(self, steps: list[tuple[str, tuple[int, ...]]], layers: dict[str, nn.Module]) -> None:
        super().__init__()
        self.steps = steps
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, images: Tensor) -> Tensor:
        """Images [batch, channels, 12, 12]."""
        joins = {"add": lambda a, b: a + b, "cat": lambda a, b: torch.cat([a, b], 1), "flat": lambda a: a.flatten(1)}
        made = [images]
        for name, places in self.steps:
            made.append(joins.get(name, self._modules.get(name))(*(made[place] for place in places)))
        return made[-1]


class Builder:
    """Draws a program and builds both sides of each layer."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.channels = int(self.random.integers(1, 4))
        self.images = keras.Input((SIDE, SIDE, self.channels))
        self.made: list[Any] = [self.images]
        self.steps: list[tuple[str, tuple[int, ...]]] = []
        self.layers: dict[str, nn.Module] = {}

    def layer(self, ours: nn.Module, theirs: Any, place: int) -> int:
        """Adds a layer to both sides; returns its index. Its name is unique and says nothing."""
        name = f"m{self.random.integers(1 << 40)}"
        self.layers[name] = ours
        self.steps.append((name, (place,)))
        self.made.append(theirs(self.made[place]))
        return len(self.made) - 1

    def join(self, name: str, theirs: Any, *places: int) -> int:
        """Joins several results into one."""
        self.steps.append((name, places))
        self.made.append(theirs([self.made[place] for place in places] if len(places) > 1 else self.made[places[0]]))
        return len(self.made) - 1

    def activation(self, place: int) -> int:
        """Adds an activation as a layer."""
        ours, theirs = ACTIVATIONS[self.random.integers(len(ACTIVATIONS))]
        return self.layer(ours(), L.Activation(theirs), place)

    def norm(self, place: int, features: bool = False) -> int:
        """Adds a batch norm with random settings."""
        momentum, eps = self.random.choice([0.9, 0.99]), float(self.random.choice([1e-3, 1e-5]))
        kind = nn.BatchNorm1d if features else nn.BatchNorm2d
        theirs = L.BatchNormalization(momentum=momentum, epsilon=eps)
        return self.layer(kind(self.made[place].shape[-1], eps, round(1 - momentum, 12)), theirs, place)

    def conv(self, place: int, out: int | None = None) -> int:
        """Adds a convolution that keeps the size; its activation may be fused into Keras's layer."""
        came = self.made[place].shape[-1]
        out, kernel = out or int(self.random.integers(4, 13)), int(self.random.choice([1, 3]))
        words = {"padding": "same", "use_bias": bool(self.random.random() < 0.7)}
        if self.random.random() < 0.2 and out == came:
            ours = nn.Conv2d(came, came, 3, padding=1, groups=came, bias=words["use_bias"])
            return self.layer(ours, L.DepthwiseConv2D(3, **words), place)
        ours = nn.Conv2d(came, out, kernel, padding=kernel // 2, bias=words["use_bias"])
        if self.random.random() < 0.5:
            return self.layer(ours, L.Conv2D(out, kernel, **words), place)
        function, name = ACTIVATIONS[self.random.integers(len(ACTIVATIONS))]
        return self._then(function(), self.layer(ours, L.Conv2D(out, kernel, activation=name, **words), place))

    def _then(self, ours: nn.Module, place: int) -> int:
        """Adds a step to PyTorch only."""
        return self.layer(ours, lambda tensor: tensor, place)

    def block(self, place: int) -> int:
        """One to six layers."""
        kind = self.random.choice(["conv", "norm", "activation", "residual", "concatenation", "pool", "dropout"])
        size = self.made[place].shape[1]
        if kind == "residual":
            inner = self.conv(self.norm(self.conv(place)), self.made[place].shape[-1])
            return self.activation(self.join("add", L.Add(), inner, place))
        if kind == "concatenation":
            return self.join("cat", L.Concatenate(), self.conv(place), self.norm(self.conv(place)))
        if kind == "pool" and size >= 4:
            pools = [(nn.MaxPool2d(2), L.MaxPooling2D(2)), (nn.AvgPool2d(2), L.AveragePooling2D(2))]
            return self.layer(*pools[self.random.integers(2)], place)
        if kind == "dropout":
            return self.layer(nn.Dropout(0.3), L.Dropout(0.3), place)
        return {"norm": self.norm, "activation": self.activation}.get(kind, self.conv)(place)

    def build(self) -> tuple[nn.Module, keras.Model]:
        """Builds blocks, flatten or the mean, and dense layers."""
        place = self.conv(0)
        for _ in range(int(self.random.integers(1, 14))):
            if len(self.steps) < 44:
                place = self.block(place)
        if self.random.random() < 0.5:
            place = self.join("flat", L.Flatten(), place)
        else:
            place = self._then(nn.Flatten(), self.layer(nn.AdaptiveAvgPool2d(1), L.GlobalAveragePooling2D(), place))
        for units in (*(16,) * int(self.random.integers(0, 3)), CLASSES):
            place = self.layer(nn.Linear(self.made[place].shape[-1], units), L.Dense(units), place)
            if units != CLASSES:
                place = self.activation(self.norm(place, features=True))
        names = [str(name) for name in self.random.permutation(list(self.layers))]
        model = keras.Model(self.images, self.made[-1])
        return Program(self.steps, {name: self.layers[name] for name in names}), model


def random_port(seed: int) -> tuple[nn.Module, keras.Model, np.ndarray, np.ndarray]:
    """Returns both models, images as Keras takes them, and labels."""
    keras.utils.set_random_seed(seed)
    builder = Builder(seed)
    network, model = builder.build()
    for weight in model.weights:
        if weight.path.endswith(("bias", "beta", "gamma", "moving_mean", "moving_variance")):
            weight.assign(weight.numpy() + builder.random.uniform(0.05, 0.3, weight.shape))
    images = builder.random.random((48, SIDE, SIDE, builder.channels), dtype=np.float32)
    return network, model, images, builder.random.integers(0, CLASSES, 48)
