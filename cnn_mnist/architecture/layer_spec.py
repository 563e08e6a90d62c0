"""``LayerSpec``, the base class of all layers in a description, and the checks of their fields.

Names, arguments and meanings are Keras's: ``padding="same"`` pads more at the end, and a moving variance is biased.
Shapes are in Keras's order, (height, width, channels), without the batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from cnn_mnist.errors import UserError, expect, nearest
from cnn_mnist.setting_checks import FRACTION, POSITIVE, at_least, check_settings

Shape = tuple[int, ...]
Pair = tuple[int, int]
Pads = tuple[Pair, Pair]
"""Padding as ((above, below), (left, right))."""

STATISTICS = ("moving_mean", "moving_variance")
"""Arrays that training updates without a gradient."""

ACTIVATIONS = (
    *("relu", "leaky_relu", "elu", "selu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid", "softplus", "softmax"),
)


def times(shape: Shape) -> str:
    """Formats a shape, for example ``26x26x32``."""
    return "x".join(map(str, shape))


@dataclass(frozen=True)
class LayerSpec:
    """A layer of a sequential network, as data.

    A subclass overrides ``output_shape``, and ``weight_shapes`` if it has weights.
    """

    stem: ClassVar[str]
    """Name of such layers in both frameworks, before the number."""
    depthwise: ClassVar[str] = ""
    """Name of the depthwise kernel; empty without one."""

    def __post_init__(self) -> None:
        check_settings(self, _RANGES)
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _FORMS:
                value = _FORMS[field.name](field.name, value)
            elif field.type in (int, float):
                value = field.type(value)  # the integer 1 becomes 1.0, and a numpy number becomes Python's
            object.__setattr__(self, field.name, value)

    def __str__(self) -> str:
        activation: str = getattr(self, "activation", None) or ""
        return ", ".join(filter(None, (self._words, activation.replace("relu", "ReLU"))))

    @property
    def _words(self) -> str:
        """Kind and sizes for a table."""
        return self.stem.replace("_", " ")

    def output_shape(self, shape: Shape) -> Shape:
        """Returns the output shape for an input shape; raises ``UserError`` if the input does not fit."""
        return shape

    def weight_shapes(self, shape: Shape) -> dict[str, Shape]:
        """Returns Keras's name and shape of each array, including statistics, for an input shape."""
        return {}

    def arithmetic(self, shape: Shape) -> str:
        """Returns the number of trained parameters as a Python expression; empty without parameters."""
        weights = {n: list(map(str, s)) for n, s in self.weight_shapes(shape).items() if n not in STATISTICS}
        if {"kernel", "bias"} <= weights.keys():
            *inputs, outputs = weights["kernel"]
            return f"({'*'.join(inputs)}+1)*{outputs}"
        return "+".join("*".join(sizes) for sizes in weights.values())


def bias(wanted: bool, size: int) -> dict[str, Shape]:
    """Returns name and shape of a bias; an empty dict if none is wanted."""
    return {"bias": (size,)} if wanted else {}


def expect_image(layer: LayerSpec, shape: Shape) -> Shape:
    """Returns the shape of an image; raises ``UserError`` for another one."""
    expect(layer, len(shape) == 3, "height x width x channels", times(shape))
    return shape


def _both(value: Any) -> Any:
    """Repeats a single number for both axes; returns other values unchanged."""
    return (value, value) if isinstance(value, int) else value


def _pair(name: str, value: Any) -> Pair:
    sides = _both(value)
    two = isinstance(sides, Sequence) and not isinstance(sides, str) and len(sides) == 2
    expect(name, two, "one number or two", repr(value))
    expect(name, all(type(n) is int and n >= 1 for n in sides), "whole numbers of at least 1", repr(value))
    return (sides[0], sides[1])


def _padding(name: str, value: Any) -> str | Pads:
    if value in ("valid", "same"):
        return str(value)
    sides = _both(value)
    if isinstance(sides, Sequence) and not isinstance(sides, str) and len(sides) == 2:
        pads = list(map(_both, sides))
        if all(isinstance(p, Sequence) and len(p) == 2 and all(type(n) is int and n >= 0 for n in p) for p in pads):
            return ((pads[0][0], pads[0][1]), (pads[1][0], pads[1][1]))
    raise UserError(f"{name}: expected valid, same or numbers of rows and columns, got {value!r}")


def _activation(name: str, value: Any) -> str | None:
    if value in (None, "linear"):
        return None
    if value not in ACTIVATIONS:
        meant = nearest(str(value), ACTIVATIONS)
        raise UserError(f"{name}: expected one of {', '.join(ACTIVATIONS)}, got {value}{meant}")
    return str(value)


_FORMS = {
    **dict.fromkeys(("kernel_size", "strides", "pool_size", "dilation_rate"), _pair),
    "padding": _padding,
    "activation": _activation,
}
"""Check and normal form of the fields that have several forms, by name."""

_RANGES = {
    **dict.fromkeys(("filters", "units", "groups", "depth_multiplier"), at_least(1)),
    **dict.fromkeys(("rate", "momentum"), FRACTION),
    **dict.fromkeys(("epsilon", "negative_slope", "alpha"), POSITIVE),
}
"""Range of the other fields, by name."""
