"""Describes a Keras or PyTorch model in the plain form, without importing a framework: classes are known by name."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from cnn_mnist.architecture.description_files import from_keras
from cnn_mnist.architecture.in_pytorch import ACTIVATIONS
from cnn_mnist.errors import UserError

_SIDES = (28, 32, *range(1, 513))  # of an image, the most common first


def describe(model: Any, fits: Callable[[list[Any], list[int]], bool]) -> list[Any]:
    """Describes a sequential Keras model or an ``nn.Sequential``.

    Args:
        model: The model.
        fits: Returns whether a description gives these numbers of input features to dense layers and layer norms after
            a flatten, and starts all pooling windows at the corner, as PyTorch's ``ceil_mode`` does.

    Returns:
        The plain form.

    Raises:
        UserError: It is neither, or a layer has no equivalent.
    """
    if hasattr(model, "to_json"):
        return from_keras(json.loads(model.to_json()))
    if not hasattr(model, "named_children"):
        raise UserError(f"architecture: expected a name, a list of layers or a model, got {type(model).__name__}")
    leaves = list(_leaves(model))
    records = [record for number, leaf in enumerate(leaves, start=1) for record in _records(number, leaf)]
    features = [_FEATURES[kind](leaf) for leaf in leaves if (kind := type(leaf).__name__) in _FEATURES]
    channels = next((leaf.in_channels for leaf in leaves if hasattr(leaf, "in_channels")), 1)
    for side in _SIDES:
        described = [{"Input": [side, side, channels]}, *records]
        if fits(described, features):
            return described
    raise UserError(
        f"architecture: expected a square input image that gives {features} features and pooling windows from its "
        "corner, found none; describe the network as a list of layers"
    )


def _leaves(module: Any) -> Iterator[Any]:
    children = list(module.children())
    if children and type(module).__name__ != "Sequential":
        raise UserError(
            f"architecture: expected an nn.Sequential, got {type(module).__name__}, whose forward() is code"
        )
    for child in children:
        yield from _leaves(child)
    if not children:
        yield module


def _records(number: int, leaf: Any) -> list[Any]:
    """Describes a module; an unusual padding becomes a ZeroPadding2D before it."""
    kind = type(leaf).__name__
    if (mode := getattr(leaf, "padding_mode", "zeros")) != "zeros":
        raise UserError(f"layer {number}, {kind}: expected padding_mode=zeros, got {mode}")
    if kind in _KINDS:
        return _KINDS[kind](leaf)
    names = [name for name, (theirs, _) in ACTIVATIONS.items() if theirs == kind]
    if names:  # GELU has two names, the tanh approximation last
        return [{"Activation": names[getattr(leaf, "approximate", "none") == "tanh"]}]
    raise UserError(f"layer {number}: expected one of {', '.join(sorted(_KINDS))} or an activation, got {leaf}")


def _convolution(leaf: Any) -> list[Any]:
    arguments = {"kernel_size": leaf.kernel_size, "strides": leaf.stride, "dilation_rate": leaf.dilation}
    arguments["use_bias"] = leaf.bias is not None
    before = []
    if leaf.padding not in ("valid", (0, 0)):
        same = [step * (size - 1) / 2 for step, size in zip(leaf.dilation, leaf.kernel_size, strict=True)]
        if leaf.padding == "same" or (list(leaf.padding) == same and leaf.stride == (1, 1)):
            arguments["padding"] = "same"
        else:
            before = [{"ZeroPadding2D": leaf.padding}]
    if leaf.groups == leaf.in_channels > 1:
        return [*before, {"DepthwiseConv2D": {"depth_multiplier": leaf.out_channels // leaf.groups, **arguments}}]
    return [*before, {"Conv2D": {"filters": leaf.out_channels, "groups": leaf.groups, **arguments}}]


def _pool(kind: str) -> Callable[[Any], list[Any]]:
    def record(leaf: Any) -> list[Any]:
        plain = leaf.padding in (0, (0, 0), [0, 0]) and getattr(leaf, "dilation", 1) in (1, (1, 1), [1, 1])
        if not plain or getattr(leaf, "divisor_override", None) is not None:
            raise UserError(f"{leaf}: expected a pool without padding, dilation and divisor_override")
        padding = "same" if leaf.ceil_mode else "valid"
        return [{kind: {"pool_size": leaf.kernel_size, "strides": leaf.stride, "padding": padding}}]

    return record


def _global(kind: str) -> Callable[[Any], list[Any]]:
    def record(leaf: Any) -> list[Any]:
        if leaf.output_size not in (1, (1, 1), [1, 1]):
            raise UserError(f"{leaf}: expected an output of 1 x 1, got {leaf.output_size}")
        return [kind]

    return record


def _norm(leaf: Any) -> list[Any]:
    if leaf.momentum is None:
        raise UserError(f"{leaf}: expected a momentum, got None (a cumulative average)")
    affine = {} if leaf.affine else {"center": False, "scale": False}
    return [{"BatchNormalization": {"momentum": round(1 - leaf.momentum, 12), "epsilon": leaf.eps, **affine}}]


def _flatten(leaf: Any) -> list[Any]:
    if (leaf.start_dim, leaf.end_dim) != (1, -1):
        raise UserError(f"{leaf}: expected to flatten all axes but the first")
    return ["Flatten"]


def _pads(leaf: Any) -> list[Any]:
    left, right, above, below = leaf.padding
    return [{"ZeroPadding2D": [[above, below], [left, right]]}]


_KINDS: dict[str, Callable[[Any], list[Any]]] = {
    "Conv2d": _convolution,
    "MaxPool2d": _pool("MaxPooling2D"),
    "AvgPool2d": _pool("AveragePooling2D"),
    "AdaptiveAvgPool2d": _global("GlobalAveragePooling2D"),
    "AdaptiveMaxPool2d": _global("GlobalMaxPooling2D"),
    "BatchNorm2d": _norm,
    "BatchNorm1d": _norm,
    **dict.fromkeys(("LayerNorm", "LayerNorm2d"), lambda leaf: [{"LayerNormalization": {"epsilon": leaf.eps}}]),
    "Dropout": lambda leaf: [{"Dropout": leaf.p}],
    "Flatten": _flatten,
    "Identity": lambda leaf: [],
    "Linear": lambda leaf: [{"Dense": {"units": leaf.out_features, "use_bias": leaf.bias is not None}}],
    "ZeroPad2d": _pads,
    "LeakyReLU": lambda leaf: [{"LeakyReLU": leaf.negative_slope}],
    "ELU": lambda leaf: [{"ELU": leaf.alpha}],
    "Softmax": lambda leaf: ["Softmax"],
}
"""Description of each of PyTorch's modules."""

_FEATURES: dict[str, Callable[[Any], int]] = {
    "Linear": lambda leaf: int(leaf.in_features),
    "LayerNorm": lambda leaf: int(leaf.normalized_shape[0]) if len(leaf.normalized_shape) == 1 else -1,
}
"""Input features of a module after a flatten; before it, a ``LayerNorm`` normalizes other axes."""
