"""The layers of a sequential network, and the list of them.

``in_pytorch`` and ``in_keras`` translate them to the frameworks.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from cnn_mnist.architecture.layer_spec import STATISTICS, LayerSpec, Shape, bias, expect_image, times
from cnn_mnist.architecture.windows import (
    AveragePooling2D,
    Conv2D,
    DepthwiseConv2D,
    MaxPooling2D,
    SeparableConv2D,
)
from cnn_mnist.errors import UserError, expect


@dataclass(frozen=True)
class GlobalMaxPooling2D(LayerSpec):
    """Maximum of each channel over the image."""

    stem: ClassVar[str] = "global_max_pool"

    def output_shape(self, shape: Shape) -> Shape:
        """Maps (height, width, channels) to (channels,)."""
        return expect_image(self, shape)[2:]


@dataclass(frozen=True)
class GlobalAveragePooling2D(GlobalMaxPooling2D):
    """Mean of each channel over the image."""

    stem: ClassVar[str] = "global_average_pool"


@dataclass(frozen=True)
class ZeroPadding2D(LayerSpec):
    """Pads an image with zeros: a number for all sides, (rows, columns), or ((above, below), (left, right))."""

    padding: Any = 1
    stem: ClassVar[str] = "pad"

    def __post_init__(self) -> None:
        super().__post_init__()
        expect("ZeroPadding2D", not isinstance(self.padding, str), "numbers of rows and columns", self.padding)

    def output_shape(self, shape: Shape) -> Shape:
        """Maps (height, width, channels) to a larger image."""
        height, width, channels = expect_image(self, shape)
        return (height + sum(self.padding[0]), width + sum(self.padding[1]), channels)


@dataclass(frozen=True)
class BatchNormalization(LayerSpec):
    """Normalizes each channel with the statistics of the batch; in evaluation with the moving statistics.

    Args:
        momentum: Fraction of the moving average kept at each update, in [0, 1); PyTorch's momentum is 1 - momentum.
        epsilon: Added to the variance.
        center: Whether it has a beta; must equal ``scale``.
        scale: Whether it has a gamma.
    """

    momentum: float = 0.99
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True
    stem: ClassVar[str] = "batch_norm"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.center != self.scale:
            raise UserError("BatchNormalization: expected center and scale to be equal, as PyTorch requires")

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Returns gamma, beta, moving mean and moving variance, each (channels,)."""
        trained = ("gamma", "beta") if self.scale else ()
        return dict.fromkeys((*trained, *STATISTICS), shape[-1:])


@dataclass(frozen=True)
class LayerNormalization(LayerSpec):
    """Normalizes the channels at each position of an image, or all features."""

    epsilon: float = 1e-3
    stem: ClassVar[str] = "layer_norm"

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Returns gamma and beta, each (channels,)."""
        return {"gamma": shape[-1:], "beta": shape[-1:]}


@dataclass(frozen=True)
class Dropout(LayerSpec):
    """In training, sets elements to 0 with probability ``rate`` and divides the others by 1 - rate."""

    rate: float
    stem: ClassVar[str] = "dropout"

    @property
    def _words(self) -> str:
        return f"dropout {self.rate}"


@dataclass(frozen=True)
class Flatten(LayerSpec):
    """Flattens an image, in the order height, width, channels in Keras and channels, height, width in PyTorch."""

    stem: ClassVar[str] = "flatten"

    def output_shape(self, shape: Shape) -> Shape:
        """Maps any shape to (number of elements,)."""
        return (math.prod(shape),)


@dataclass(frozen=True)
class Dense(LayerSpec):
    """Fully connected layer; ``use_bias`` and ``activation`` as in ``Conv2D``."""

    units: int
    use_bias: bool = True
    activation: str | None = None
    stem: ClassVar[str] = "dense"

    @property
    def _words(self) -> str:
        return f"dense {self.units}"

    def output_shape(self, shape: Shape) -> Shape:
        """Maps (features,) to (units,)."""
        expect(self, len(shape) == 1, "a flat input", f"{times(shape)}; put a Flatten before it")
        return (self.units,)

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Returns kernel (features, units) and bias (units,)."""
        return {"kernel": (shape[0], self.units)} | bias(self.use_bias, self.units)


@dataclass(frozen=True)
class Activation(LayerSpec):
    """An activation from ``ACTIVATIONS``, with Keras's defaults: leaky_relu has a slope of 0.2, elu an alpha of 1."""

    activation: str
    stem: ClassVar[str] = "activation"


@dataclass(frozen=True)
class LeakyReLU(LayerSpec):
    """Multiplies negative elements by ``negative_slope``; PyTorch's default is 0.01."""

    negative_slope: float = 0.3
    stem: ClassVar[str] = "leaky_relu"


@dataclass(frozen=True)
class ELU(LayerSpec):
    """Maps negative elements x to alpha * (exp(x) - 1)."""

    alpha: float = 1.0
    stem: ClassVar[str] = "elu"


KINDS: dict[str, type[LayerSpec]] = {
    kind.__name__: kind
    for kind in (
        *(Conv2D, DepthwiseConv2D, SeparableConv2D, MaxPooling2D, AveragePooling2D, GlobalMaxPooling2D),
        *(GlobalAveragePooling2D, ZeroPadding2D, BatchNormalization, LayerNormalization, Dropout, Flatten, Dense),
        *(Activation, LeakyReLU, ELU),
    )
}
"""Classes of layers by their name in a description."""

ALIASES: dict[str, LayerSpec] = {"ReLU": Activation("relu"), "Softmax": Activation("softmax")}
"""Other names of layers in Keras."""
