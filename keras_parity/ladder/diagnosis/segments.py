"""What lies between two matched layers, and what else it may have been meant to compute: tried on the spot."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.capture.calls import Call
from keras_parity.ladder.capture.patched import ordered, run_patched
from keras_parity.ladder.diagnosis.finding import Finding, Setting
from keras_parity.ladder.diagnosis.layer_attributes import compute, differing, to_paste
from keras_parity.ladder.diagnosis.paths import call_text, keras_path, torch_path
from keras_parity.ladder.matching.arrays import RECURRENT
from keras_parity.ladder.matching.kinds import kind_of
from keras_parity.ladder.rungs.comparison import Comparison
from keras_parity.ladder.rungs.rung import relative

_A = keras.activations
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    **{f"keras.activations.{name}": getattr(_A, name) for name in (
        "linear", "relu", "tanh", "sigmoid", "softmax", "gelu", "elu", "selu", "silu", "softplus", "softsign", "relu6",
        "hard_sigmoid", "hard_silu", "mish", "log_softmax")},
    "lambda x: keras.activations.gelu(x, approximate=True)": partial(_A.gelu, approximate=True),
    **{f"lambda x: keras.activations.leaky_relu(x, {slope})": partial(_A.leaky_relu, negative_slope=slope)
       for slope in (0.01, 0.1, 0.2, 0.3)},
}  # fmt: skip
"""What an activation may have been meant to be, by how it is written."""


INPUTS: dict[str, Callable[[Any], Any]] = {
    "images / 255": lambda x: x / 255,
    "images * 255": lambda x: x * 255,
    "images[..., ::-1]": lambda x: x[..., ::-1],
}
"""What Keras's images may lack, by how it is written."""


Alternative = tuple[keras.Layer | None, str, Callable[[Any], Any], list[Setting]]
"""(layer, or None for the input; line; what is computed in its place; settings in which it differs from PyTorch's)."""


LIMITS = {"float64": 1e-7, "float32": 1e-4}
"""Relative difference over which a layer that was fed the other's tensors counts as wrong, by precision.

In float64 constants that Keras rounds through float32 remain.
"""

RUNS = 60
"""How many runs of a model look for what a segment should compute."""


@dataclass
class Segment:
    """What lies between matched layers and is wrong by itself, with what has not been tried in it yet."""

    finding: Finding
    untried: list[Alternative]


def segment_before(pair: Comparison, place: int, difference: float) -> Segment:
    """What lies before a matched layer, which differs."""
    match = pair.match
    matched = match.pairs[place]
    ours, theirs = match.torch_calls[matched.torch], match.keras_calls[matched.keras]
    before = [match.keras_calls[parent] for parent, _ in theirs.parents if match.keras_calls[parent].layer is not None]
    names = list(dict.fromkeys(call.name for call in before)) or ["the input"]
    lies = [name for name, *_ in (*ours.between, *theirs.between)]
    through = f" ({', '.join(dict.fromkeys(lies))})" if lies else ""
    where = f"{' and '.join(names[:3])}{' ...' if len(names) > 3 else ''} to {ours.name}{through}"
    untried = list(_alternatives(pair, ours, theirs, before))
    if not before:
        untried += [(None, f"images = {line}", function, []) for line, function in INPUTS.items()]
    return Segment(Finding(where, difference), untried)


def try_fixes(pair: Comparison, segments: dict[int, Segment], inputs: Any) -> None:
    """Tries one alternative of every segment in a run, since each is closed off from the others."""
    waiting = dict(segments)
    for _ in range(RUNS):
        tried: dict[int, Alternative] = {}
        for place, segment in waiting.items():
            taken = {id(layer) for layer, *_ in tried.values()}
            fitting = [alternative for alternative in segment.untried if id(alternative[0]) not in taken]
            if fitting:
                tried[place] = fitting[0]
                segment.untried.remove(fitting[0])
        if not tried:
            return
        results = _left(pair, tried, inputs) or [
            found for place, one in tried.items() for found in _left(pair, {place: one}, inputs)
        ]
        for some in results:
            for place, left in some.items():
                if left <= LIMITS[pair.exact]:
                    _, line, _, settings = tried[place]
                    segments[place].finding.lines.append(line)
                    segments[place].finding.settings.extend(settings)
                    waiting.pop(place, None)


def _left(pair: Comparison, tried: dict[int, Alternative], inputs: Any) -> list[dict[int, float]]:
    """What is left of the difference at each place; nothing where an alternative does not fit."""
    overrides, fed = {}, inputs
    for layer, _, function, _ in tried.values():
        if layer is None:
            fed = function(inputs)
        else:
            overrides[id(layer)] = function
    try:
        made = run_patched(pair.keras[pair.exact].model, pair.match, fed, overrides).given
    except Exception:  # a shape that the next layer does not take
        return []
    return [{place: difference_at(pair, place, made.get(place)) for place in tried}]


def difference_at(pair: Comparison, place: int, made: NDArray | None) -> float:
    """How far what Keras's segment before a matched layer made is from what PyTorch's layer got, relative."""
    matched = pair.match.pairs[place]
    given = pair.match.torch_calls[matched.torch].given
    if made is None or given is None:
        return 0.0
    if given.ndim != made.ndim and given.size == made.size:  # time folded into the batch, or axes of one pixel
        given = given.reshape(made.shape)
    return relative(ordered(given, matched.order), made)


def _alternatives(pair: Comparison, ours: Call, theirs: Call, before: list[Call]) -> Iterator[Alternative]:
    """Keras's layers of a segment and what may stand in their place, the likeliest first."""
    stateless = [layer for _, layer, _ in theirs.between]
    modules = [(name, module) for name, module, _ in ours.between if not isinstance(module, (nn.Flatten, nn.Dropout))]
    path = partial(keras_path, pair.keras[pair.exact].model)
    for _, layer, shape in theirs.between:
        swapped = _swapped(layer)
        if swapped is not None:
            kept = ("pool_size", "strides", "padding", "data_format", "keepdims")
            words = {name: value for name, value in swapped.get_config().items() if name in kept}
            made = call_text(f"keras.layers.{type(swapped).__name__}", words)
            kinds = [Setting("layer", type(swapped).__name__, type(layer).__name__)]
            yield layer, f"{path(layer)}.call = {made}.call", swapped, kinds
        for name, module in modules:
            known = {kind for kind in ("Pool", "ReLU", "GELU", "ELU") if kind in type(module).__name__}
            if any(kind in type(layer).__name__ for kind in known) and (
                settings := differing(module, layer, shape[1:-1])
            ):
                yield layer, to_paste(name, module, settings), partial(_through, module), settings
            elif isinstance(layer, keras.layers.AveragePooling2D) and getattr(module, "count_include_pad", False):
                setting = Setting("count_include_pad", True, False)
                yield layer, f"{torch_path(name)}.count_include_pad = False", partial(_through, module), [setting]
            elif isinstance(module, nn.Upsample) and isinstance(layer, keras.layers.UpSampling2D):
                mode, corners = layer.interpolation, False if layer.interpolation == "bilinear" else None
                settings = [Setting("mode", module.mode, mode), Setting("align_corners", module.align_corners, corners)]
                line = f"{torch_path(name)}.mode, {torch_path(name)}.align_corners = {mode!r}, {corners}"
                yield layer, line, partial(_through, module), [s for s in settings if s.ours != s.theirs]
            elif isinstance(module, nn.Softmax) and isinstance(layer, (keras.layers.Softmax, keras.layers.Activation)):
                axis = getattr(layer, "axis", -1)
                line = f"{torch_path(name)}.dim = {axis}"
                yield layer, line, partial(_through, module), [Setting("dim", module.dim, axis)]
    for call in before:
        current = getattr(call.layer, "activation", None)
        if callable(current) and kind_of(call.layer, 1) not in RECURRENT:
            target = f"{path(call.layer)}.activation"
            yield from _activations(call.layer, target, getattr(current, "__name__", "custom"))
            twice = f"{target} = lambda x: {_named(current)}({_named(current)}(x))"
            yield call.layer, twice, partial(_twice, current), []
    for layer in stateless:
        if (
            callable(getattr(layer, "activation", None))
            or "ReLU" in type(layer).__name__
            or isinstance(layer, keras.layers.Softmax)
        ):
            attribute = "activation" if isinstance(layer, keras.layers.Activation) else "call"
            current = getattr(layer, "activation", None)
            yield from _activations(
                layer, f"{path(layer)}.{attribute}", getattr(current, "__name__", type(layer).__name__)
            )
        if isinstance(layer, keras.layers.Rescaling):
            for scale in (1.0, 1 / 255, 255.0):
                yield layer, f"{path(layer)}.scale = {scale:.10g}", partial(np.multiply, scale), []


def _activations(layer: keras.Layer, target: str, current: str) -> Iterator[Alternative]:
    """Other activations in the place of a layer's own."""
    for line, function in ACTIVATIONS.items():
        name = line.removeprefix("lambda x: ").removeprefix("keras.activations.")
        yield layer, f"{target} = {line}", function, [Setting("activation", name, current)]


def _named(function: Callable[..., Any]) -> str:
    return f"keras.activations.{getattr(function, '__name__', 'linear')}"


def _twice(function: Callable[[Any], Any], tensor: Any) -> Any:
    return function(function(tensor))


def _through(module: nn.Module, tensor: Any) -> Any:
    return tf.constant(np.ascontiguousarray(compute(module, np.asarray(tensor))))


def _swapped(layer: keras.Layer) -> keras.Layer | None:
    """The average of a pooling for its greatest, or the other way round."""
    name = type(layer).__name__
    if "Pooling" not in name:
        return None
    other = name.replace("Max", "Average") if "Max" in name else name.replace("Average", "Max")
    return getattr(keras.layers, other).from_config(layer.get_config() | {"name": f"{layer.name}_other"})
