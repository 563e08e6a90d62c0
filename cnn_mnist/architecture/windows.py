"""Layers that move a window over an image: convolutions and pools."""

from dataclasses import dataclass
from typing import Any, ClassVar

from cnn_mnist.architecture.layer_spec import LayerSpec, Pads, Pair, Shape, bias, expect_image, times
from cnn_mnist.errors import expect


class Windows(LayerSpec):
    """Base class of convolutions and pools."""

    kind: ClassVar[str]
    """Name in a table."""

    kernel_size: Any
    strides: Any
    padding: Any
    dilation_rate: Any

    def output_shape(self, shape: Shape) -> Shape:
        """Maps (height, width, channels) to (rows, columns, output channels)."""
        height, width, channels = expect_image(self, shape)
        padded = [n + sum(pad) for n, pad in zip((height, width), self.pads(shape), strict=True)]
        fits = all(n >= k for n, k in zip(padded, self.window, strict=True))
        expect(self, fits, f"an input of at least {times(self.window)}", times(shape))
        rows, columns = ((n - k) // s + 1 for n, k, s in zip(padded, self.window, self.strides, strict=True))
        return (rows, columns, self.channels(channels))

    @property
    def window(self) -> Pair:
        """Rows and columns of the receptive field of one output."""
        rows, columns = self.kernel_size
        return (self.dilation_rate[0] * (rows - 1) + 1, self.dilation_rate[1] * (columns - 1) + 1)

    def channels(self, channels: int) -> int:
        """Returns the number of output channels for input channels."""
        return getattr(self, "filters", channels)

    @property
    def _words(self) -> str:
        filters = f"{self.filters}@" if hasattr(self, "filters") else ""
        return f"{self.kind} {filters}{times(self.kernel_size)}"

    def pads(self, shape: Shape) -> Pads:
        """Returns the padding for an input of ``shape``; "same" pads an extra row or column at the end."""
        if self.padding == "valid":
            return ((0, 0), (0, 0))
        if self.padding != "same":
            return self.padding
        rows, columns = map(pad_same, shape, self.window, self.strides)
        return (rows, columns)


def pad_same(length: int, window: int, stride: int) -> Pair:
    """Returns the padding of "same" before and after an axis, which gives ceil(length / stride) outputs."""
    total = max((-(-length // stride) - 1) * stride + window - length, 0)
    return (total // 2, total - total // 2)


@dataclass(frozen=True)
class _Filters(LayerSpec):
    filters: int


@dataclass(frozen=True)
class _Convolution(Windows):
    kernel_size: Any
    strides: Any = 1
    padding: Any = "valid"
    dilation_rate: Any = 1
    use_bias: bool = True
    activation: str | None = None


@dataclass(frozen=True)
class Conv2D(_Convolution, _Filters):
    """Convolution.

    Args:
        filters: Number of output channels.
        kernel_size: (height, width), or one number for both.
        strides: (down, across), or one number for both; 1 for a dilated kernel.
        padding: "valid", "same", or explicit: a number, (rows, columns), or ((above, below), (left, right)).
        dilation_rate: Distance between elements of the kernel.
        use_bias: Whether to add a bias.
        activation: One of ``ACTIVATIONS``.
        groups: Number of groups of channels.
    """

    groups: int = 1
    stem: ClassVar[str] = "conv"
    kind: ClassVar[str] = "conv"

    def output_shape(self, shape: Shape) -> Shape:
        """Maps (height, width, channels) to (rows, columns, filters)."""
        output = super().output_shape(shape)
        one = max(self.strides) == 1 or max(self.dilation_rate) == 1
        expect(self, one, "strides or a dilation of 1", f"{self.strides} and {self.dilation_rate}")
        divided = shape[2] % self.groups == self.filters % self.groups == 0
        expect(self, divided, f"groups that divide {shape[2]} channels and the filters", self.groups)
        return output

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Returns kernel (height, width, input channels / groups, filters) and bias (filters,)."""
        kernel = (*self.kernel_size, shape[2] // self.groups, self.filters)
        return {"kernel": kernel} | bias(self.use_bias, self.filters)


@dataclass(frozen=True)
class _OfEachChannel(_Convolution):
    """Base class of convolutions that begin with a depthwise one."""

    depth_multiplier: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        equal = self.strides[0] == self.strides[1]  # TensorFlow's depthwise convolution needs it
        expect(self, equal, "the same stride down and across", times(self.strides))


@dataclass(frozen=True)
class DepthwiseConv2D(_OfEachChannel):
    """Depthwise convolution with ``depth_multiplier`` outputs per channel; other arguments as in ``Conv2D``."""

    stem: ClassVar[str] = "depthwise"
    kind: ClassVar[str] = "depthwise conv"
    depthwise: ClassVar[str] = "kernel"

    def channels(self, channels: int) -> int:
        """Returns ``depth_multiplier`` outputs for each channel."""
        return channels * self.depth_multiplier

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Returns kernel (height, width, input channels, depth multiplier) and bias (output channels,)."""
        kernel = (*self.kernel_size, shape[2], self.depth_multiplier)
        return {"kernel": kernel} | bias(self.use_bias, self.channels(shape[2]))

    def arithmetic(self, shape: Shape) -> str:
        """Returns weights and bias of one output channel, times their number."""
        one = "*".join(map(str, self.kernel_size))
        return f"({one}{'+1' if self.use_bias else ''})*{self.channels(shape[2])}"


@dataclass(frozen=True)
class SeparableConv2D(_OfEachChannel, _Filters):
    """A ``DepthwiseConv2D`` without bias, followed by a 1x1 ``Conv2D``; arguments as in these two."""

    stem: ClassVar[str] = "separable"
    kind: ClassVar[str] = "separable conv"
    depthwise: ClassVar[str] = "depthwise_kernel"

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Returns depthwise (height, width, in, multiplier), pointwise (1, 1, in * multiplier, filters) and bias."""
        depthwise = (*self.kernel_size, shape[2], self.depth_multiplier)
        pointwise = (1, 1, shape[2] * self.depth_multiplier, self.filters)
        return {"depthwise_kernel": depthwise, "pointwise_kernel": pointwise} | bias(self.use_bias, self.filters)


@dataclass(frozen=True)
class _Pool(Windows):
    pool_size: Any = 2
    strides: Any = None
    padding: Any = "valid"

    @property
    def window(self) -> Pair:
        """``pool_size``."""
        return self.pool_size

    @property
    def _words(self) -> str:
        rows, columns = self.pool_size
        return f"{self.kind} {rows if rows == columns else times(self.pool_size)}"

    def __post_init__(self) -> None:
        if self.strides is None:
            object.__setattr__(self, "strides", self.pool_size)
        super().__post_init__()
        remedy = f"{self.padding}; put a ZeroPadding2D before it"
        expect(self, isinstance(self.padding, str), "padding valid or same", remedy)


@dataclass(frozen=True)
class MaxPooling2D(_Pool):
    """Maximum over windows of ``pool_size`` at distances of ``strides`` (default: ``pool_size``)."""

    stem: ClassVar[str] = "pool"
    kind: ClassVar[str] = "max pool"


@dataclass(frozen=True)
class AveragePooling2D(_Pool):
    """Mean over windows, without the padding; arguments as in ``MaxPooling2D``."""

    stem: ClassVar[str] = "average_pool"
    kind: ClassVar[str] = "average pool"
