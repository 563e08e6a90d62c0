"""The settings of a layer on both sides, and lines that give PyTorch's layer Keras's settings."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from cnn_mnist.architecture.windows import pad_same
from keras_parity.ladder.diagnosis.finding import Setting
from keras_parity.ladder.diagnosis.paths import MODULES
from keras_parity.ladder.diagnosis.paths import torch_path as path
from keras_parity.ladder.matching.kinds import CHANNELS_FIRST, PADDINGS, kind_of

Pads = tuple[tuple[int, int], ...]
"""Pixels added before and after each spatial axis."""


def differing(
    module: nn.Module, layer: keras.Layer, size: tuple[int, ...], before: keras.Layer | None = None, pads: Pads = ()
) -> list[Setting]:
    """Returns the settings in which a module and a layer differ.

    Args:
        module: PyTorch's module.
        layer: Keras's layer of the same kind.
        size: Lengths of the input's spatial axes.
        before: The layer before Keras's; it may be a padding.
        pads: The zeros that PyTorch adds before the module.
    """
    extra = _tuples(before.padding, len(size)) if isinstance(before, PADDINGS) else ((0, 0),) * len(size)
    settings = _settings(module, layer, size, extra, pads or ((0, 0),) * len(size))
    return [setting for setting in settings if setting.ours is not None and setting.ours != setting.theirs]


def _settings(
    module: nn.Module, layer: keras.Layer, size: tuple[int, ...], extra: Pads, pads: Pads
) -> Iterator[Setting]:
    rank = len(size)
    for name, keras_name in (("eps", "epsilon"), ("num_groups", "groups")):
        if hasattr(layer, keras_name):
            ours = getattr(module, name, None)
            if isinstance(module, nn.RMSNorm) and ours is None:
                ours = torch.finfo(torch.float32).eps
            yield Setting(name, ours, getattr(layer, keras_name))
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and hasattr(layer, "momentum"):
        yield Setting("momentum", module.momentum, float(np.round(1 - layer.momentum, 12)))
    if isinstance(module, nn.LeakyReLU) and hasattr(layer, "negative_slope"):
        yield Setting("negative_slope", module.negative_slope, float(layer.negative_slope))
    if isinstance(layer, keras.layers.AveragePooling2D):
        yield Setting("count_include_pad", getattr(module, "count_include_pad", None), False)
    if isinstance(module, nn.Upsample) and isinstance(layer, keras.layers.UpSampling2D):
        yield Setting("mode", module.mode, layer.interpolation)
        yield Setting("align_corners", module.align_corners, False if layer.interpolation == "bilinear" else None)
    if isinstance(module, nn.Softmax) and isinstance(layer, (keras.layers.Softmax, keras.layers.Activation)):
        yield Setting("dim", module.dim, getattr(layer, "axis", -1))
    if hasattr(layer, "strides") and getattr(module, "stride", None) is not None:
        kernel = _tuple(getattr(layer, "pool_size", None) or layer.kernel_size, rank)
        strides, dilation = _tuple(layer.strides, rank), _tuple(getattr(layer, "dilation_rate", 1), rank)
        yield Setting("kernel_size", _tuple(module.kernel_size, rank), kernel)
        yield Setting("stride", _tuple(module.stride, rank), strides)
        if getattr(module, "dilation", None) is not None:
            yield Setting("dilation", _tuple(module.dilation, rank), dilation)
        if isinstance(module, nn.modules.conv._ConvTransposeNd):
            axes = zip(_tuple(module.padding, rank), _tuple(module.output_padding, rank), strict=True)
            crop = tuple((pad, pad - extra_pad) for pad, extra_pad in axes)
            yield Setting("crop", crop, _keras_crop(layer, kernel, strides, dilation))
        else:
            padded = tuple(length + sum(pad) for length, pad in zip(size, extra, strict=True))
            keras_pads = _keras_pads(layer.padding, padded, kernel, strides, dilation)
            yield Setting("padding", _sum(pads, _pads(module, size)), _sum(extra, keras_pads))


def _sum(first: Pads, second: Pads) -> Pads:
    return tuple((a + c, b + d) for (a, b), (c, d) in zip(first, second, strict=True))


def _tuple(value: Any, rank: int) -> tuple[int, ...]:
    return (value,) * rank if isinstance(value, int) else tuple(value)


def _tuples(padding: Any, rank: int) -> Pads:
    return (tuple(padding),) if rank == 1 and isinstance(padding[0], int) else tuple(map(tuple, padding))


def _pads(module: nn.Module, size: tuple[int, ...]) -> Pads:
    rank = len(size)
    padding, dilation = module.padding, _tuple(getattr(module, "dilation", 1), rank)
    if padding == "same":  # PyTorch's allows no stride
        return _keras_pads("same", size, _tuple(module.kernel_size, rank), (1,) * rank, dilation)
    return tuple((pad, pad) for pad in _tuple(0 if padding == "valid" else padding, rank))


def _keras_pads(padding: str, size: tuple[int, ...], kernel: Any, strides: Any, dilation: Any) -> Pads:
    """Returns TensorFlow's padding; "same" pads what ceil(size / stride) outputs need, the odd pixel at the end."""
    if padding == "causal":
        return (((kernel[0] - 1) * dilation[0], 0),)
    if padding != "same":
        return ((0, 0),) * len(size)
    windows = [(width - 1) * step + 1 for width, step in zip(kernel, dilation, strict=True)]
    return tuple(map(pad_same, size, windows, strides))


def _keras_crop(layer: Any, kernel: Any, strides: Any, dilation: Any) -> Pads:
    """Returns how much TensorFlow crops a transposed convolution's full output at each end; negative where it adds."""
    crops = []
    for width, stride, step in zip(kernel, strides, dilation, strict=True):
        over = (width - 1) * step + 1 - stride
        same = layer.padding == "same"
        crops.append((max(over, 0) // 2, over - max(over, 0) // 2) if same else (0, min(over, 0)))
    return tuple(crops)


def to_paste(name: str, module: nn.Module, settings: list[Setting], pads: Pads = (), padded_by: str = "") -> str:
    """Writes the lines that change the user's own module.

    Args:
        name: Name of the module.
        module: The module.
        settings: The settings to change.
        pads: The zeros that PyTorch adds before the module.
        padded_by: Name of the module that adds them; empty if a function does.
    """
    lines = []
    for setting in settings:
        wanted, own = setting.theirs, path(name)
        if setting.name == "crop":
            zeros, rest = (0,) * len(wanted), tuple(-cut for cut in _flat(wanted))
            lines += [f"{own}.padding = {zeros}", f"{own}.output_padding = {zeros}"]
            lines.append(f"{own}.register_forward_hook(lambda module, args, output: nn.functional.pad(output, {rest}))")
        elif setting.name != "padding":
            lines.append(f"{own}.{setting.name} = {wanted!r}")
        elif not pads and all(before == after for before, after in wanted):
            lines.append(f"{own}.padding = {tuple(before for before, _ in wanted)}")
        else:
            if any(map(any, _pads(module, (1,) * len(wanted)))):
                lines.append(f"{own}.padding = {(0,) * len(wanted)}")
            if padded_by:
                lines.append(f"{path(padded_by)} = nn.ConstantPad{len(wanted)}d({_flat(wanted)}, 0.0)")
                continue
            rest = tuple(a - b for a, b in zip(_flat(wanted), _flat(pads or ((0, 0),) * len(wanted)), strict=True))
            value = ", value=float('-inf')" if "MaxPool" in type(module).__name__ else ""
            padding = f"nn.functional.pad(args[0], {rest}{value})"
            lines.append(f"{own}.register_forward_pre_hook(lambda module, args: {padding})")
    return "; ".join(lines)


def _flat(pads: Pads) -> tuple[int, ...]:
    """Returns padding in the order that PyTorch's functions take it, the last axis first."""
    return tuple(pad for pair in reversed(pads) for pad in pair)


def compute_after(network: nn.Module, line: str, name: str, array: NDArray, pads: Pads, padded_by: str) -> NDArray:
    """Runs a line of ``to_paste`` on a copy of a network; returns the output of the module for an unpadded input."""
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    space = MODULES | {"torch_model": copy.deepcopy(network, shared)}
    exec(line, space)
    changed: nn.Module = space["torch_model"]
    padding = changed.get_submodule(padded_by) if padded_by else partial(F.pad, pad=_flat(pads))
    return compute(changed.get_submodule(name), array, padding)


def compute(module: nn.Module, array: NDArray, padding: Callable[[Any], Any] = lambda tensor: tensor) -> NDArray:
    """Runs a module on an input, after a padding; input and output have Keras's axis order."""
    channels_first = (kind_of(module, 0) in CHANNELS_FIRST or not list(module.parameters())) and array.ndim > 2
    tensor = torch.from_numpy(np.array(np.moveaxis(array, -1, 1) if channels_first else array, order="C"))
    with torch.no_grad():
        out = module.eval()(padding(tensor)).numpy()
    return np.moveaxis(out, 1, -1) if channels_first and out.ndim > 2 else out
