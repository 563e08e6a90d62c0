"""Wrong segments between two matched layers, and other operations that they may be intended to compute."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.capture.calls import Call
from keras_parity.ladder.capture.patched import ordered, run_patched
from keras_parity.ladder.diagnosis.finding import Finding, Setting
from keras_parity.ladder.diagnosis.layer_attributes import compute, differing, to_paste
from keras_parity.ladder.diagnosis.paths import call_text, evaluate, keras_path
from keras_parity.ladder.judge.nests import array_distance
from keras_parity.ladder.matching.kinds import is_recurrent
from keras_parity.ladder.rungs.comparison import Copies

ACTIVATIONS = (
    *(f"keras.activations.{name}" for name in (
        "linear", "relu", "tanh", "sigmoid", "softmax", "gelu", "elu", "selu", "silu", "softplus", "softsign", "relu6",
        "hard_sigmoid", "hard_silu", "mish", "log_softmax")),
    "lambda x: keras.activations.gelu(x, approximate=True)",
    *(f"lambda x: keras.activations.leaky_relu(x, {slope})" for slope in (0.01, 0.1, 0.2, 0.3)),
)  # fmt: skip
"""Candidate activations, as Python expressions."""


AVERAGES = keras.layers.AveragePooling1D, keras.layers.AveragePooling2D, keras.layers.AveragePooling3D

INPUTS = ("images / 255", "images * 255", "images[..., ::-1]")
"""Candidate changes of Keras's images, as Python expressions."""


Alternative = tuple[keras.Layer | None, str, Callable[[Any], Any], list[Setting]]
"""(layer, or None for the input; line; function to compute instead; settings that differ from PyTorch's)."""


LIMITS = {"float64": 1e-7, "float32": 1e-4}
"""Relative difference from which a layer, fed with the other side's tensors, counts as wrong, by precision.

Even in float64, Keras rounds constants through float32.
"""

RUNS = 60
"""Runs of a model that try alternatives."""


@dataclass
class Segment:
    """A wrong segment, with its finding and the alternatives that are not tried yet."""

    finding: Finding
    untried: list[Alternative]


def segment_before(copies: Copies, place: int, difference: float) -> Segment:
    """Describes the segment before a matched layer.

    Args:
        copies: Both sides.
        place: Index of the matched pair.
        difference: Relative difference of the layer's inputs.
    """
    match = copies.match
    matched = match.pairs[place]
    torch_call, keras_call = match.torch_calls[matched.torch], match.keras_calls[matched.keras]
    parents = [match.keras_calls[parent] for parent, _ in keras_call.parents]
    parents = [call for call in parents if call.layer is not None]
    names = list(dict.fromkeys(call.name for call in parents)) or ["the input"]
    inner = dict.fromkeys(name for name, *_ in (*torch_call.between, *keras_call.between))
    through = f" ({', '.join(inner)})" if inner else ""
    where = f"{' and '.join(names[:3])}{' ...' if len(names) > 3 else ''} to {torch_call.name}{through}"
    untried = list(_alternatives(copies, torch_call, keras_call, parents))
    if not parents:
        untried += [_alternative(None, "images", line, f"lambda images: {line}") for line in INPUTS]
    return Segment(Finding(where, difference), untried)


def try_fixes(copies: Copies, segments: dict[int, Segment], inputs: Any) -> None:
    """Tries alternatives, one of every segment per run; patching keeps the segments independent.

    Args:
        copies: Both sides.
        segments: By index of the matched pair; findings get the lines that work.
        inputs: Inputs of the Keras model.
    """
    waiting = dict(segments)
    for _ in range(RUNS):
        tried: dict[int, Alternative] = {}
        for place, segment in waiting.items():
            taken = {id(layer) for layer, *_ in tried.values()}
            available = [alternative for alternative in segment.untried if id(alternative[0]) not in taken]
            if available:
                tried[place] = available[0]
                segment.untried.remove(available[0])
        if not tried:
            return
        results = _remaining(copies, tried, inputs) or [
            found for place, one in tried.items() for found in _remaining(copies, {place: one}, inputs)
        ]
        for result in results:
            for place, difference in result.items():
                if difference <= LIMITS[copies.dtype]:
                    _, line, _, settings = tried[place]
                    segments[place].finding.lines.append(line)
                    segments[place].finding.settings.extend(settings)
                    waiting.pop(place, None)


def _remaining(copies: Copies, tried: dict[int, Alternative], inputs: Any) -> list[dict[int, float]]:
    """Returns the difference that remains at each place; an empty list if an alternative fails."""
    overrides, fed = {}, inputs
    try:
        for layer, _, function, _ in tried.values():
            if layer is None:
                fed = function(inputs)
            else:
                overrides[id(layer)] = function
        model = copies.keras.model
        patched = run_patched(model, copies.match, fed, overrides).inputs
    except Exception:  # raised where the next layer rejects the shape, or several inputs are no array
        return []
    return [{place: difference_at(copies, place, patched.get(place)) for place in tried}]


def difference_at(copies: Copies, place: int, keras_input: NDArray | None) -> float:
    """Returns the relative difference between PyTorch's and Keras's input of a matched layer."""
    matched = copies.match.pairs[place]
    torch_input = copies.match.torch_calls[matched.torch].input
    if keras_input is None or torch_input is None:
        return 0.0
    if torch_input.ndim != keras_input.ndim and torch_input.size == keras_input.size:
        torch_input = torch_input.reshape(keras_input.shape)  # time folded into the batch, or axes of one pixel
    return array_distance(ordered(torch_input, matched.order), keras_input)


def _alternatives(copies: Copies, torch_call: Call, keras_call: Call, parents: list[Call]) -> Iterator[Alternative]:
    """Yields alternatives for the layers of a segment, the likeliest first."""
    path = partial(keras_path, copies.keras.model)
    between = list(_between(copies, keras_call))
    for _, layer, shape in between:
        name = type(layer).__name__
        if "Pooling" in name:
            other = name.replace("Max", "Average") if "Max" in name else name.replace("Average", "Max")
            copied = ("pool_size", "strides", "padding", "data_format", "keepdims")
            arguments = {name: value for name, value in layer.get_config().items() if name in copied}
            made = call_text(f"keras.layers.{other}", arguments)
            yield _alternative(layer, f"{path(layer)}.call", f"{made}.call", setting=Setting("layer", other, name))
        for module_name, module, _ in torch_call.between:
            if settings := differing(module, layer, shape[1:-1]):
                yield layer, to_paste(module_name, module, settings), partial(_through, module), settings
        if isinstance(layer, AVERAGES) and layer.padding == "same" and {*layer.strides} == {1}:
            yield _counting_pads(layer, path(layer))
    for call in parents:
        current = getattr(call.layer, "activation", None)
        if callable(current) and not is_recurrent(call.layer):
            target, name = f"{path(call.layer)}.activation", getattr(current, "__name__", "custom")
            yield from _activations(call.layer, target, name)
            if hasattr(keras.activations, name):
                twice = f"lambda x: keras.activations.{name}(keras.activations.{name}(x))"
                yield _alternative(call.layer, target, twice)
    for _, layer, _ in between:
        current, kind = getattr(layer, "activation", None), type(layer).__name__
        if callable(current) or "ReLU" in kind or isinstance(layer, keras.layers.Softmax):
            attribute = "activation" if isinstance(layer, keras.layers.Activation) else "call"
            yield from _activations(layer, f"{path(layer)}.{attribute}", getattr(current, "__name__", kind))
        if isinstance(layer, keras.layers.Rescaling):
            for scale in ("1.0", "1 / 255", "255.0"):
                yield _alternative(layer, f"{path(layer)}.scale", scale, f"lambda x: {scale} * x")


def _between(copies: Copies, keras_call: Call) -> Iterator[tuple[str, Any, tuple[int, ...]]]:
    """Yields the stateless layers before a call, and those before layers that only Keras has, such as Normalization."""
    matched = {pair.keras for pair in copies.match.pairs}
    for parent, _ in keras_call.parents:
        if parent not in matched:
            yield from _between(copies, copies.match.keras_calls[parent])
    yield from keras_call.between


def _counting_pads(layer: keras.Layer, path: str) -> Alternative:
    """Averages over the zeros of the padding too, as PyTorch's ``avg_pool2d`` does."""
    pads = [(0, 0)] * (len(layer.pool_size) + 2)
    first = 1 if layer.data_format == "channels_last" else 2
    for axis, size in enumerate(layer.pool_size, start=first):
        pads[axis] = (size - 1) // 2, size // 2
    form = f"{layer.pool_size}, 1, data_format={layer.data_format!r}"
    function = f"lambda x: keras.ops.average_pool(keras.ops.pad(x, {pads}), {form})"
    return _alternative(layer, f"{path}.call", function, setting=Setting("count_include_pad", True, False))


def _activations(layer: keras.Layer, target: str, current: str) -> Iterator[Alternative]:
    """Yields other activations for a layer."""
    for line in ACTIVATIONS:
        name = line.removeprefix("lambda x: ").removeprefix("keras.activations.")
        yield _alternative(layer, target, line, setting=Setting("activation", name, current))


def _alternative(
    layer: keras.Layer | None, target: str, value: str, function: str = "", setting: Setting | None = None
) -> Alternative:
    """Builds an alternative from a line that sets ``target``; it computes the value, or ``function`` if given."""
    return layer, f"{target} = {value}", evaluate(function or value), [setting] if setting else []


def _through(module: nn.Module, tensor: Any) -> Any:
    return keras.ops.convert_to_tensor(np.ascontiguousarray(compute(module, np.asarray(tensor))))
