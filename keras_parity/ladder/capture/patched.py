"""Activation patching: runs the Keras model and feeds every matched layer PyTorch's input and output.

A layer or segment that causes an error then differs; a layer or segment that only passes it on does not.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.capture.calls import first_tensor
from keras_parity.ladder.capture.keras_calls import intercepted, state_of
from keras_parity.ladder.matching.kinds import FEATUREWISE, PADDINGS, channels_last, hides_preactivation, to_layer_axes
from keras_parity.ladder.matching.match_weights import Match

Overrides = Mapping[int, Callable[[Any], Any]]
"""By ``id`` of a Keras layer: a function to compute instead of its activation, or of the layer if it has no state."""


@dataclass
class Patched:
    """The results of a patched run, by index of the matched pair.

    Attributes:
        inputs: The input of the layer, computed by Keras's segment before it from PyTorch's tensors.
        outputs: The output of the layer before its activation, computed from PyTorch's input.
        unpatched: Indices of the Keras calls that pass on their own output, computed from PyTorch's input if it fits,
            because PyTorch's output has another shape.
        errors: Why a layer could not run on PyTorch's tensors.
    """

    inputs: dict[int, NDArray] = field(default_factory=dict)
    outputs: dict[int, NDArray] = field(default_factory=dict)
    unpatched: set[int] = field(default_factory=set)
    errors: dict[int, str] = field(default_factory=dict)


def run_patched(model: keras.Model, match: Match, inputs: Any, overrides: Overrides | None = None) -> Patched:
    """Runs the Keras model once with patched activations, eagerly, in inference mode.

    Fills in ``order`` of pairs whose flattened features are ordered otherwise.

    Args:
        model: The Keras model; with PyTorch's weights if ``outputs`` matter.
        match: The match of the same batch.
        inputs: The inputs, as the model takes them.
        overrides: Functions to compute instead of layers.
    """
    found, overridden = Patched(), overrides or {}
    by_keras = {pair.keras: place for place, pair in enumerate(match.pairs)}
    place = sum(call.input is None and call.output is None for call in match.keras_calls)  # containers come first
    # Padding is a setting of the next layer in PyTorch and a layer in Keras: it is delayed until that next layer runs.
    delayed: dict[int, tuple[Any, Callable[[Any], Any]]] = {}

    def padded(fed: Any) -> Any:
        return keras.tree.map_structure(lambda t: delayed[id(t)][1](t) if id(t) in delayed else t, fed)

    def handler(layer: keras.Layer, fed: Any, run: Any, activation: Callable[[Any], Any]) -> Any:
        nonlocal place
        parts = state_of(layer)
        _, pad = delayed.get(id(first_tensor(fed)), (None, lambda tensors: tensors))
        if isinstance(layer, PADDINGS):
            unpadded = keras.ops.copy(fed)
            delayed[id(unpadded)] = unpadded, lambda tensors: run(pad(tensors))[1]
            return unpadded
        if not parts:
            return overridden.get(id(layer), lambda tensors: run(tensors)[1])(padded(fed))
        bare, run = run, lambda tensors: bare(pad(tensors))
        first, place = place, place + len(parts)
        pairs = [by_keras.get(part) for part in range(first, place)]
        if pairs[0] is None or pairs[-1] is None:
            return run(fed)[1]
        start, end = match.torch_calls[match.pairs[pairs[0]].torch], match.torch_calls[match.pairs[pairs[-1]].torch]
        keras_input = channels_last(layer, first_tensor(fed))
        found.inputs[pairs[0]] = keras_input
        if hides_preactivation(layer):
            found.unpatched.add(match.pairs[pairs[-1]].keras)
            return run(fed)[1]
        if start.input is not None and start.input.ndim < keras_input.ndim and start.input.size != keras_input.size:
            del found.inputs[pairs[0]]  # a packed sequence has fewer steps
            return run(fed)[1]
        if start.input is None or end.output is None:
            return run(fed)[1]
        if match.pairs[pairs[0]].order is None and keras_input.ndim == 2:
            shapes = [shape for *_, shape in match.keras_calls[match.pairs[pairs[0]].keras].between if len(shape) > 2]
            channels = {shape[-1] for shape in shapes} or range(2, keras_input.shape[-1])
            order = _order(start.input, keras_input, channels)
            match.pairs[pairs[0]] = replace(match.pairs[pairs[0]], order=order)
        order = match.pairs[pairs[0]].order
        out = end.output if order is None or end.kind not in FEATUREWISE else end.output[..., order]
        if start.input.ndim > keras_input.ndim and start.input.size == keras_input.size:  # with axes of one pixel
            out = out.reshape(*keras_input.shape[:-1], -1)
        try:
            preactivation, own = run(_like(fed, to_layer_axes(layer, ordered(start.input, order))))
            found.outputs[pairs[-1]] = channels_last(layer, first_tensor(preactivation))
        except Exception as error:  # depends on the layer
            found.errors[pairs[-1]] = f"{type(error).__name__}: {error}".splitlines()[0]
            preactivation, own = out, None
        patch = out if found.outputs.get(pairs[-1], out).ndim == out.ndim else out[:, -1]
        patch = to_layer_axes(layer, patch)
        own_preactivation, of_fed = run(fed)
        own_shape = first_tensor(own_preactivation).shape
        if patch.ndim != len(own_shape) and patch.size == np.prod(own_shape):  # attention heads share one axis
            patch = patch.reshape(own_shape)
        if isinstance(preactivation, (tuple, list)) or own_shape != patch.shape:
            found.unpatched.add(match.pairs[pairs[-1]].keras)
            fits = own is not None and first_tensor(own).shape == first_tensor(of_fed).shape
            return own if fits else of_fed
        return overridden.get(id(layer), activation)(keras.ops.convert_to_tensor(patch))

    with intercepted(model, handler):
        output = first_tensor(model(inputs, training=False))
    last = by_keras.get(len(match.keras_calls) - 1)
    if last is not None:
        found.inputs[last] = np.asarray(output)
    return found


def ordered(array: NDArray, order: NDArray | None) -> NDArray:
    """Puts features into Keras's order."""
    return array if order is None else array[..., order]


def _like(fed: Any, array: NDArray) -> Any:
    """Puts PyTorch's input into a nest like Keras's input."""
    first = first_tensor(fed)
    reshaped = array.size == np.prod(first.shape) and array.ndim != len(first.shape)  # axes of one pixel
    tensor = keras.ops.convert_to_tensor(array.reshape(first.shape) if reshaped else array, first.dtype)
    return tensor if fed is first else keras.tree.map_structure(lambda t: tensor if t is first else t, fed)


def _order(torch_input: NDArray, keras_input: NDArray, channels: Iterable[int]) -> NDArray | None:
    """Finds the order of features under which PyTorch's input is nearest to Keras's; None for the same order.

    Args:
        torch_input: [..., features].
        keras_input: [..., features].
        channels: Candidates for the number of channels before the flatten.
    """
    if torch_input.shape != keras_input.shape:
        return None
    count = torch_input.shape[-1]
    best, found = float(np.abs(torch_input - keras_input).max(initial=0.0)), None
    for number in channels:
        if count % number == 0 and number < count:
            order = np.arange(count).reshape(number, -1).T.reshape(-1)
            difference = float(np.abs(torch_input[..., order] - keras_input).max(initial=0.0))
            if difference < best:
                best, found = difference, order
    return found
