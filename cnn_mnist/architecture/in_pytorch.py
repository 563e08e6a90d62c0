"""PyTorch's modules for a network: class names of ``torch.nn`` with arguments."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any

from cnn_mnist.architecture import layers as records
from cnn_mnist.architecture.layer_spec import LayerSpec, Pads
from cnn_mnist.architecture.module_spec import ModuleSpec, source_of
from cnn_mnist.architecture.network import Network, PlacedLayer

ACTIVATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("ReLU", {}),
    "selu": ("SELU", {}),
    "gelu": ("GELU", {}),
    "gelu_tanh": ("GELU", {"approximate": "tanh"}),
    "silu": ("SiLU", {}),
    "tanh": ("Tanh", {}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {"threshold": 40}),  # the default of 20 is off by 2e-9
}
"""PyTorch's class and arguments for each activation."""


def pytorch_modules(network: Network) -> list[ModuleSpec]:
    """Returns PyTorch's modules in order, with the names of ``Network.modules``.

    Asymmetric padding is a module before the convolution, ``conv1_pad``; a separable convolution contains two modules,
    ``separable1.depthwise`` and ``separable1.pointwise``.
    """
    return [spec for place in network.modules for spec in ENTRIES[type(place.layer)](place.layer, place)]


def pytorch_source(network: Network) -> str:
    """Returns the network as PyTorch source code."""
    specs = pytorch_modules(network)
    imports = ["from collections import OrderedDict", "", "from torch import nn"]
    if any(spec.kind == "LayerNorm2d" for spec in specs):
        imports.append("from torchvision.models.convnext import LayerNorm2d")
    lines = [f"    {_entry(spec)}," for spec in specs]
    return "\n".join([*imports, "", "network = nn.Sequential(OrderedDict([", *lines, "]))"])


def _entry(spec: ModuleSpec) -> str:
    if spec.parts:
        return f'("{spec.name}", nn.Sequential(OrderedDict([{", ".join(map(_entry, spec.parts))}])))'
    return f'("{spec.name}", {"" if spec.kind == "LayerNorm2d" else "nn."}{source_of(spec)})'


def _convolution(layer: Any, place: PlacedLayer) -> Iterator[ModuleSpec]:
    channels = place.input_shape[2]
    if isinstance(layer, records.DepthwiseConv2D | records.SeparableConv2D):
        out, groups = channels * layer.depth_multiplier, channels
    else:
        out, groups = layer.filters, layer.groups
    separable = isinstance(layer, records.SeparableConv2D)
    pads = layer.pads(place.input_shape)
    even = all(before == after for before, after in pads)
    if not even:
        yield _padding(f"{place.name}_pad", pads)
    arguments = {
        "in_channels": channels,
        "out_channels": out,
        "kernel_size": layer.kernel_size,
        "stride": layer.strides,
        "padding": (pads[0][0], pads[1][0]) if even else (0, 0),
        "dilation": layer.dilation_rate,
        "groups": groups,
        "bias": layer.use_bias and not separable,
    }
    if separable:
        pointwise = {"in_channels": out, "out_channels": layer.filters, "kernel_size": (1, 1), "bias": layer.use_bias}
        parts = ModuleSpec("depthwise", "Conv2d", arguments), ModuleSpec("pointwise", "Conv2d", pointwise)
        yield ModuleSpec(place.name, "Sequential", {}, parts)
    else:
        yield ModuleSpec(place.name, "Conv2d", arguments)


def _pool(layer: Any, place: PlacedLayer) -> Iterator[ModuleSpec]:
    """Emulates padding="same", which may pad one row more at the end; PyTorch pads symmetrically.

    With strides over 1, ``ceil_mode`` adds the window over the end. With a stride of 1 both sides get the extra row,
    and the first window is cropped.
    """
    padding, ends, first, passes = [], [], [], False
    axes = zip(layer.pads(place.input_shape), layer.strides, layer.window, place.output_shape, strict=False)
    for size, ((before, after), stride, window, rows) in zip(place.input_shape, axes, strict=False):
        uneven = before != after
        padding.append(after if uneven and stride == 1 else before)
        first.append((-1 if uneven and stride == 1 else 0, 0))
        passes |= uneven and stride > 1
        ends.append((0, min(0, (rows - 1) * stride + window - size)))
    if passes and any(end != (0, 0) for end in ends):  # crop uncovered rows, which would get a window too
        yield _padding(f"{place.name}_pad", (ends[0], ends[1]))
    arguments = {"kernel_size": layer.pool_size, "stride": layer.strides, "padding": tuple(padding)}
    arguments |= {"ceil_mode": True} if passes else {}
    arguments |= {"count_include_pad": False} if isinstance(layer, records.AveragePooling2D) else {}
    kind = "AvgPool2d" if isinstance(layer, records.AveragePooling2D) else "MaxPool2d"
    crops = any(crop != (0, 0) for crop in first)
    yield ModuleSpec(f"{place.name}_all" if crops else place.name, kind, arguments)
    if crops:
        yield _padding(place.name, (first[0], first[1]))


def _global_pool(kind: str, place: PlacedLayer) -> list[ModuleSpec]:
    return [ModuleSpec(f"{place.name}_map", kind, {"output_size": 1}), ModuleSpec(place.name, "Flatten", {})]


def _padding(name: str, pads: Pads) -> ModuleSpec:
    return ModuleSpec(name, "ZeroPad2d", {"padding": (*pads[1], *pads[0])})


def _normalization(layer: records.BatchNormalization, place: PlacedLayer) -> list[ModuleSpec]:
    kind = "BatchNorm2d" if len(place.input_shape) == 3 else "BatchNorm1d"
    rest = {"eps": layer.epsilon, "momentum": round(1 - layer.momentum, 12), "affine": layer.scale}
    return [ModuleSpec(place.name, kind, {"num_features": place.input_shape[-1]} | rest)]


def _layer_norm(layer: records.LayerNormalization, place: PlacedLayer) -> list[ModuleSpec]:
    kind = "LayerNorm2d" if len(place.input_shape) == 3 else "LayerNorm"
    return [ModuleSpec(place.name, kind, {"normalized_shape": place.input_shape[-1:], "eps": layer.epsilon})]


def _dense(layer: records.Dense, place: PlacedLayer) -> list[ModuleSpec]:
    sizes = {"in_features": place.input_shape[0], "out_features": layer.units}
    return [ModuleSpec(place.name, "Linear", sizes | {"bias": layer.use_bias})]


ENTRIES: dict[type[LayerSpec], Callable[[Any, PlacedLayer], Iterable[ModuleSpec]]] = {
    **dict.fromkeys((records.Conv2D, records.DepthwiseConv2D, records.SeparableConv2D), _convolution),
    **dict.fromkeys((records.MaxPooling2D, records.AveragePooling2D), _pool),
    records.GlobalMaxPooling2D: lambda layer, place: _global_pool("AdaptiveMaxPool2d", place),
    records.GlobalAveragePooling2D: lambda layer, place: _global_pool("AdaptiveAvgPool2d", place),
    records.ZeroPadding2D: lambda layer, place: [_padding(place.name, layer.padding)],
    records.BatchNormalization: _normalization,
    records.LayerNormalization: _layer_norm,
    records.Dropout: lambda layer, place: [ModuleSpec(place.name, "Dropout", {"p": layer.rate})],
    records.Flatten: lambda layer, place: [ModuleSpec(place.name, "Flatten", {})],
    records.Dense: _dense,
    records.Activation: lambda layer, place: [ModuleSpec(place.name, *ACTIVATIONS[layer.activation])],
    records.LeakyReLU: lambda layer, place: [ModuleSpec(place.name, "LeakyReLU", asdict(layer))],
    records.ELU: lambda layer, place: [ModuleSpec(place.name, "ELU", asdict(layer))],
}
"""PyTorch's modules for each class of layer."""
