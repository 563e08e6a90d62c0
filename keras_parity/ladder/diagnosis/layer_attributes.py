"""The settings of a layer on both sides, and PyTorch's layers with Keras's settings."""

import copy
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.diagnosis.finding import Setting
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
            yield Setting(name, getattr(module, name, None), getattr(layer, keras_name))
    if isinstance(module, nn.modules.batchnorm._BatchNorm) and hasattr(layer, "momentum"):
        yield Setting("momentum", module.momentum, float(np.round(1 - layer.momentum, 12)))
    if isinstance(module, nn.LeakyReLU) and hasattr(layer, "negative_slope"):
        yield Setting("negative_slope", module.negative_slope, float(layer.negative_slope))
    if isinstance(module, nn.GELU):
        approximate = getattr(getattr(layer, "activation", None), "keywords", {}).get("approximate")
        yield Setting("approximate", module.approximate, "tanh" if approximate else "none")
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
    pads = []
    for length, width, stride, step in zip(size, kernel, strides, dilation, strict=True):
        total = max((-(-length // stride) - 1) * stride + (width - 1) * step + 1 - length, 0)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


def _keras_crop(layer: Any, kernel: Any, strides: Any, dilation: Any) -> Pads:
    """Returns how much TensorFlow crops a transposed convolution's full output at each end; negative where it adds."""
    crops = []
    for width, stride, step in zip(kernel, strides, dilation, strict=True):
        over = (width - 1) * step + 1 - stride
        same = layer.padding == "same"
        crops.append((max(over, 0) // 2, over - max(over, 0) // 2) if same else (0, min(over, 0)))
    return tuple(crops)


class Padded(nn.Module):
    """A layer with padding before it, or cropping after it, that its own settings cannot express.

    Args:
        pads: Pixels before and after each spatial axis; negative to crop.
        layer: The layer.
        behind: Whether to pad after the layer.
    """

    def __init__(self, pads: Pads, layer: nn.Module, behind: bool = False) -> None:
        super().__init__()
        self.flat, self.behind = [pad for pair in reversed(pads) for pad in pair], behind
        self.layer = layer
        self.value = -torch.inf if "MaxPool" in type(layer).__name__ else 0.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Takes images [batch, channels, ...]."""
        if self.behind:
            return F.pad(self.layer(images), self.flat)
        return self.layer(F.pad(images, self.flat, value=self.value))


def with_settings(module: nn.Module, settings: list[Setting], pads: Pads = ()) -> nn.Module:
    """Returns a copy of a module with other settings, behind the zeros that are added before it."""
    changed = copy.deepcopy(module).cpu()
    for setting in settings:
        if setting.name == "crop":
            setattr(changed, "padding", (0,) * len(setting.theirs))  # noqa: B010 - a module's attribute
            setattr(changed, "output_padding", (0,) * len(setting.theirs))  # noqa: B010
            changed = Padded(tuple((-before, -after) for before, after in setting.theirs), changed, behind=True)
            continue
        if setting.name != "padding":
            setattr(changed.layer if isinstance(changed, Padded) else changed, setting.name, setting.theirs)
            continue
        setattr(changed, "padding", (0,) * len(setting.theirs))  # noqa: B010 - a module's attribute
        if isinstance(changed, nn.modules.conv._ConvNd):
            changed._reversed_padding_repeated_twice = [0, 0] * len(setting.theirs)
        changed, pads = Padded(setting.theirs, changed), ()
    return Padded(pads, changed) if pads else changed


def to_paste(name: str, module: nn.Module, settings: list[Setting], padded_by: str | None = None) -> str:
    """Writes the lines that change the user's own module.

    Args:
        name: Name of the module.
        module: The module.
        settings: The settings to change.
        padded_by: Name of the module that pads before it; "" if a function does; None if nothing does.
    """
    lines = []
    for setting in settings:
        if setting.name == "crop":
            flat = tuple(-cut for pair in reversed(setting.theirs) for cut in pair)
            zeros = (0,) * len(setting.theirs)
            lines += [f"{path(name)}.padding = {zeros}", f"{path(name)}.output_padding = {zeros}"]
            lines.append(f"{path(name)} = nn.Sequential({path(name)}, nn.ConstantPad{len(zeros)}d({flat}, 0.0))")
        elif setting.name == "padding" and padded_by is not None:
            flat = tuple(pad for pair in reversed(setting.theirs) for pad in pair)
            if padded_by:
                lines.append(f"{path(padded_by)} = nn.ConstantPad{len(setting.theirs)}d({flat}, 0.0)")
                if any(map(any, _pads(module, (1,) * len(setting.theirs)))):
                    lines.append(f"{path(name)}.padding = {(0,) * len(setting.theirs)}")
            else:  # a function pads: a hook adds the rest
                present = (pad for pair in reversed(setting.ours) for pad in pair)
                rest = tuple(wanted - pad for wanted, pad in zip(flat, present, strict=True))
                lines.append(f"{path(name)}.register_forward_pre_hook(lambda module, args: F.pad(args[0], {rest}))")
        elif setting.name == "padding" and any(before != after for before, after in setting.theirs):
            flat = tuple(pad for pair in reversed(setting.theirs) for pad in pair)
            rank, value = len(setting.theirs), ", float('-inf')" if "MaxPool" in type(module).__name__ else ""
            pad = f"ConstantPad{rank}d({flat}{value or ', 0.0'})"
            lines.append(f"{path(name)}.padding = {(0,) * rank}")
            lines.append(f"{path(name)} = nn.Sequential(nn.{pad}, {path(name)})")
        elif setting.name == "padding":
            lines.append(f"{path(name)}.padding = {tuple(before for before, _ in setting.theirs)}")
        else:
            lines.append(f"{path(name)}.{setting.name} = {setting.theirs!r}")
    return "; ".join(lines)


def compute(module: nn.Module, array: NDArray) -> NDArray:
    """Runs a module on an input; input and output have Keras's axis order."""
    inner = module.layer if isinstance(module, Padded) else module
    channels_first = (kind_of(inner, 0) in CHANNELS_FIRST or not list(inner.parameters())) and array.ndim > 2
    tensor = torch.from_numpy(np.array(np.moveaxis(array, -1, 1) if channels_first else array, order="C"))
    with torch.no_grad():
        out = module.eval()(tensor).numpy()
    return np.moveaxis(out, 1, -1) if channels_first and out.ndim > 2 else out
