"""What lies between two matched layers, and what else it may have been meant to compute: tried on the spot."""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.calls import OUTPUT, Call
from keras_parity.ladder.culprit import LIMITS, Culprit, Repair
from keras_parity.ladder.forced import ordered, run_forced
from keras_parity.ladder.kinds import kind_of
from keras_parity.ladder.pair import Pair
from keras_parity.ladder.rung import relative
from keras_parity.ladder.settings import Setting, compute, differing, to_paste

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


RUNS = 60
"""How many runs of a model look for what a stretch should compute."""


@dataclass
class Stretch:
    """What lies between matched layers and is wrong by itself, with what has not been tried in it yet."""

    culprit: Culprit
    untried: list[Alternative]


def stretch_before(pair: Pair, place: int, difference: float) -> Stretch:
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
        untried += [(None, f"{line}  # before the Keras model", function, []) for line, function in INPUTS.items()]
    return Stretch(Culprit(where, difference), untried)


def mend(pair: Pair, stretches: dict[int, Stretch], inputs: Any) -> None:
    """Tries one alternative of every stretch in a run, since each is closed off from the others."""
    waiting = dict(stretches)
    for _ in range(RUNS):
        tried: dict[int, Alternative] = {}
        for place, stretch in waiting.items():
            taken = {id(layer) for layer, *_ in tried.values()}
            fitting = [alternative for alternative in stretch.untried if id(alternative[0]) not in taken]
            if fitting:
                tried[place] = fitting[0]
                stretch.untried.remove(fitting[0])
        if not tried:
            return
        results = _left(pair, tried, inputs) or [
            found for place, one in tried.items() for found in _left(pair, {place: one}, inputs)
        ]
        for some in results:
            for place, left in some.items():
                if left <= LIMITS[pair.exact]:
                    _, line, _, settings = tried[place]
                    stretches[place].culprit.repairs.append(Repair(line, left))
                    stretches[place].culprit.settings.extend(settings)
                    waiting.pop(place, None)


def _left(pair: Pair, tried: dict[int, Alternative], inputs: Any) -> list[dict[int, float]]:
    """What is left of the difference at each place; nothing where an alternative does not fit."""
    overrides, fed = {}, inputs
    for layer, _, function, _ in tried.values():
        if layer is None:
            fed = function(inputs)
        else:
            overrides[id(layer)] = function
    try:
        made = run_forced(pair.keras[pair.exact].model, pair.match, fed, overrides).given
    except Exception:  # a shape that the next layer does not take
        return []
    return [{place: difference_at(pair, place, made.get(place)) for place in tried}]


def difference_at(pair: Pair, place: int, made: NDArray | None) -> float:
    """How far what Keras's stretch before a matched layer made is from what PyTorch's layer got, relative."""
    matched = pair.match.pairs[place]
    given = pair.match.torch_calls[matched.torch].given
    if made is None or given is None:
        return 0.0
    if pair.match.torch_calls[matched.torch].kind == OUTPUT:
        return relative(pair.port.torch_scores(given), pair.port.keras_scores(made))
    return relative(ordered(given, matched.order), made)


def _alternatives(pair: Pair, ours: Call, theirs: Call, before: list[Call]) -> Iterator[Alternative]:
    """Keras's layers of a stretch and what may stand in their place, the likeliest first."""
    stateless = [layer for _, layer, _ in theirs.between]
    modules = [(name, module) for name, module, _ in ours.between if not isinstance(module, (nn.Flatten, nn.Dropout))]
    for _, layer, shape in theirs.between:
        swapped = _swapped(layer)
        if swapped is not None:
            yield layer, f"keras.layers.{type(swapped).__name__} in the place of {layer.name}", swapped, []
        for name, module in modules:
            known = {kind for kind in ("Pool", "ReLU", "GELU", "ELU") if kind in type(module).__name__}
            if any(kind in type(layer).__name__ for kind in known):
                settings = differing(module, layer, shape[1:-1])
                line = (
                    to_paste(name, module, settings) or f"# in the place of {layer.name}: what PyTorch's {module} does"
                )
                yield layer, line, partial(_through, module), settings
        if isinstance(layer, keras.layers.AveragePooling2D) and layer.padding == "same" and max(layer.strides) == 1:
            text = f"count_include_pad=False in PyTorch's average pooling, as in Keras's {layer.name}"
            yield layer, text, partial(_counting_pads, layer), []
    for call in before:
        current = getattr(call.layer, "activation", None)
        if callable(current) and kind_of(call.layer, 1) not in ("LSTM", "GRU"):
            target = f'keras_model.get_layer("{call.layer.name}").activation'
            yield from ((call.layer, f"{target} = {line}", function, []) for line, function in ACTIVATIONS.items())
            twice = f"{target} = lambda x: {_named(current)}({_named(current)}(x))"
            yield call.layer, twice, partial(_twice, current), []
    for layer in stateless:
        current = getattr(layer, "activation", None) or (layer if "ReLU" in type(layer).__name__ else None)
        if callable(current) or isinstance(layer, keras.layers.Softmax):
            target = f"keras.layers.Activation({{}}) in the place of {layer.name}"
            yield from ((layer, target.format(line), function, []) for line, function in ACTIVATIONS.items())
        if isinstance(layer, keras.layers.Rescaling):
            for scale in (1.0, 1 / 255, 255.0):
                line = f"keras.layers.Rescaling({scale:.10g}) in the place of {layer.name}"
                yield layer, line, partial(np.multiply, scale), []


def _named(function: Callable[..., Any]) -> str:
    return f"keras.activations.{getattr(function, '__name__', 'linear')}"


def _twice(function: Callable[[Any], Any], tensor: Any) -> Any:
    return function(function(tensor))


def _through(module: nn.Module, tensor: Any) -> Any:
    return tf.constant(np.ascontiguousarray(compute(module, np.asarray(tensor))))


def _counting_pads(layer: keras.layers.AveragePooling2D, tensor: Any) -> Any:
    """An average in which the zeros around the image count, as they do in PyTorch by default."""
    sides = [[(size - 1) // 2, size // 2] for size in layer.pool_size]
    return tf.nn.avg_pool2d(tf.pad(tensor, [[0, 0], *sides, [0, 0]]), layer.pool_size, 1, "VALID")


def _swapped(layer: keras.Layer) -> keras.Layer | None:
    """The average of a pooling for its greatest, or the other way round."""
    name = type(layer).__name__
    if "Pooling" not in name:
        return None
    other = name.replace("Max", "Average") if "Max" in name else name.replace("Average", "Max")
    return getattr(keras.layers, other).from_config(layer.get_config() | {"name": f"{layer.name}_other"})
