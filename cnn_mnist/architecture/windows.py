"""The records of layers that move a window over an image: convolutions and pools."""

from dataclasses import dataclass
from typing import Any, ClassVar

from cnn_mnist.architecture.layer_spec import LayerSpec, Pads, Pair, Shape, bias, expect_image, times
from cnn_mnist.errors import UserError


class Windows(LayerSpec):
    """What moves a window over an image."""

    kind: ClassVar[str]
    """What a table calls it."""

    kernel_size: Any
    strides: Any
    padding: Any
    dilation_rate: Any

    def output_shape(self, shape: Shape) -> Shape:
        """(height, width, channels) to the windows that fit, by the padding, and the channels that come out."""
        height, width, channels = expect_image(self, shape)
        padded = [n + sum(pad) for n, pad in zip((height, width), self.pads(shape), strict=True)]
        if any(n < k for n, k in zip(padded, self.window, strict=True)):
            raise UserError(f"{self}: expected an input of at least {times(self.window)}, got {times(shape)}")
        rows, columns = ((n - k) // s + 1 for n, k, s in zip(padded, self.window, self.strides, strict=True))
        return (rows, columns, self.channels(channels))

    @property
    def window(self) -> Pair:
        """Rows and columns that one output sees."""
        rows, columns = self.kernel_size
        return (self.dilation_rate[0] * (rows - 1) + 1, self.dilation_rate[1] * (columns - 1) + 1)

    def channels(self, channels: int) -> int:
        """Channels that come out; ``filters`` where the record has them."""
        return getattr(self, "filters", channels)

    @property
    def _words(self) -> str:
        filters = f"{self.filters}@" if hasattr(self, "filters") else ""
        return f"{self.kind} {filters}{times(self.kernel_size)}"

    def pads(self, shape: Shape) -> Pads:
        """Rows and columns that are put around an input of ``shape``; under "same" the odd one at the end."""
        if self.padding == "valid":
            return ((0, 0), (0, 0))
        if self.padding != "same":
            return self.padding
        rows, columns = map(pad_same, shape, self.window, self.strides)
        return (rows, columns)


def pad_same(length: int, window: int, stride: int) -> Pair:
    """How much padding "same" adds before and after an axis: enough for ceil(length / stride) outputs, more after."""
    total = max((-(-length // stride) - 1) * stride + window - length, 0)
    return (total // 2, total - total // 2)


@dataclass(frozen=True)
class Conv2D(Windows):
    """Convolution.

    Args:
        filters: Channels that come out.
        kernel_size: Height and width, or both.
        strides: Likewise; 1 where the kernel is dilated.
        padding: "valid", "same", or explicit: a number, (rows, columns), or ((above, below), (left, right)).
        dilation_rate: Distance of two elements of the kernel.
        groups: Into how many the channels are split.
        use_bias: Whether it adds a bias.
        activation: One of ``ACTIVATIONS``.
    """

    filters: int
    kernel_size: Any
    strides: Any = 1
    padding: Any = "valid"
    dilation_rate: Any = 1
    groups: int = 1
    use_bias: bool = True
    activation: str | None = None
    stem: ClassVar[str] = "conv"
    kind: ClassVar[str] = "conv"

    def output_shape(self, shape: Shape) -> Shape:
        """(height, width, channels) to (rows, columns, filters)."""
        output = super().output_shape(shape)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise UserError(f"{self}: expected strides or a dilation of 1, got {self.strides} and {self.dilation_rate}")
        if shape[2] % self.groups or self.filters % self.groups:
            raise UserError(
                f"{self}: expected groups that divide {shape[2]} channels and the filters, got {self.groups}"
            )
        return output

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Kernel (height, width, channels in / groups, filters) and bias (filters,)."""
        kernel = (*self.kernel_size, shape[2] // self.groups, self.filters)
        return {"kernel": kernel} | bias(self.use_bias, self.filters)


class _OfEachChannel(Windows):
    """What begins with a convolution of each channel by itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strides[0] != self.strides[1]:  # TensorFlow has no other
            raise UserError(f"{self}: expected the same stride down and across, got {times(self.strides)}")


@dataclass(frozen=True)
class DepthwiseConv2D(_OfEachChannel):
    """A convolution of each channel by itself; arguments as in ``Conv2D``, ``depth_multiplier`` outputs a channel."""

    kernel_size: Any
    strides: Any = 1
    padding: Any = "valid"
    depth_multiplier: int = 1
    dilation_rate: Any = 1
    use_bias: bool = True
    activation: str | None = None
    stem: ClassVar[str] = "depthwise"
    kind: ClassVar[str] = "depthwise conv"
    depthwise: ClassVar[str] = "kernel"

    def channels(self, channels: int) -> int:
        """``depth_multiplier`` for each."""
        return channels * self.depth_multiplier

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Kernel (height, width, channels in, depth multiplier) and bias (channels out,)."""
        kernel = (*self.kernel_size, shape[2], self.depth_multiplier)
        return {"kernel": kernel} | bias(self.use_bias, self.channels(shape[2]))

    def arithmetic(self, shape: Shape) -> str:
        """The weights of one output channel and its bias, for each."""
        one = "*".join(map(str, self.kernel_size))
        return f"({one}{'+1' if self.use_bias else ''})*{self.channels(shape[2])}"


@dataclass(frozen=True)
class SeparableConv2D(_OfEachChannel):
    """A ``DepthwiseConv2D`` without a bias, and a 1x1 ``Conv2D`` behind it; arguments as there."""

    filters: int
    kernel_size: Any
    strides: Any = 1
    padding: Any = "valid"
    dilation_rate: Any = 1
    depth_multiplier: int = 1
    use_bias: bool = True
    activation: str | None = None
    stem: ClassVar[str] = "separable"
    kind: ClassVar[str] = "separable conv"
    depthwise: ClassVar[str] = "depthwise_kernel"

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Depthwise kernel (height, width, in, multiplier), pointwise (1, 1, in * multiplier, filters), bias."""
        depthwise = (*self.kernel_size, shape[2], self.depth_multiplier)
        pointwise = (1, 1, shape[2] * self.depth_multiplier, self.filters)
        return {"depthwise_kernel": depthwise, "pointwise_kernel": pointwise} | bias(self.use_bias, self.filters)


@dataclass(frozen=True)
class _Pool(Windows):
    pool_size: Any = 2
    strides: Any = None
    padding: str = "valid"

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
        if not isinstance(self.padding, str):
            raise UserError(
                f"{self}: expected padding valid or same, got {self.padding}; put a ZeroPadding2D before it"
            )


@dataclass(frozen=True)
class MaxPooling2D(_Pool):
    """Maximum over windows of ``pool_size``, ``strides`` apart (by default side by side); "valid" drops a rest."""

    stem: ClassVar[str] = "pool"
    kind: ClassVar[str] = "max pool"


@dataclass(frozen=True)
class AveragePooling2D(_Pool):
    """Mean over windows, as in ``MaxPooling2D``; what "same" puts around the image does not count."""

    stem: ClassVar[str] = "average_pool"
    kind: ClassVar[str] = "average pool"
