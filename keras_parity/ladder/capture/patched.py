"""A run of the Keras model on PyTorch's tensors: a matched layer gets what PyTorch's got, and passes on what it gave.

What is wrong by itself shows there, and what only passes a fault on does not.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from keras_parity.ladder.capture.calls import first_tensor
from keras_parity.ladder.capture.keras_calls import state_of, watched
from keras_parity.ladder.matching.kinds import FEATUREWISE, PADDINGS, as_layer_has, channels_last, hides_its_sum
from keras_parity.ladder.matching.match_weights import Match

Overrides = Mapping[int, Callable[[Any], Any]]
"""By ``id`` of a Keras layer, what is computed in place of its activation, or of itself where it owns no state."""


@dataclass
class Patched:
    """What Keras makes of PyTorch's tensors, by place of the matched pair.

    Attributes:
        given: The input that Keras's segment before the layer makes of what PyTorch's layers gave.
        out: What Keras's layer makes of PyTorch's input, before its activation.
        unpatched: The Keras calls, by place, that pass on what they made themselves, since PyTorch's has another shape.
        errors: The layers that could not run on PyTorch's tensors, with the reason.
    """

    given: dict[int, NDArray] = field(default_factory=dict)
    out: dict[int, NDArray] = field(default_factory=dict)
    unpatched: set[int] = field(default_factory=set)
    errors: dict[int, str] = field(default_factory=dict)


def run_patched(model: keras.Model, match: Match, inputs: Any, overrides: Overrides | None = None) -> Patched:
    """Runs Keras's model once, eagerly and in inference; fills in the order of what is flattened, where it is open.

    Args:
        model: With PyTorch's weights, where ``out`` is of interest.
        match: From the records of the same batch.
        inputs: As the model takes them.
        overrides: What else to compute.
    """
    found, overridden = Patched(), overrides or {}
    by_keras = {pair.keras: place for place, pair in enumerate(match.pairs)}
    place = sum(call.given is None and call.out is None for call in match.keras_calls)  # the loose ones stand first
    # What PyTorch sets in the next layer, Keras does in one of its own: it waits, with its tensor, for what takes that.
    waiting: dict[int, tuple[Any, Callable[[Any], Any]]] = {}

    def padded(given: Any) -> Any:
        return keras.tree.map_structure(lambda t: waiting[id(t)][1](t) if id(t) in waiting else t, given)

    def handler(layer: keras.Layer, given: Any, run: Any, activation: Callable[[Any], Any]) -> Any:
        nonlocal place
        parts = state_of(layer)
        _, pad = waiting.get(id(first_tensor(given)), (None, lambda tensors: tensors))
        if isinstance(layer, PADDINGS):
            unpadded = tf.identity(given)
            waiting[id(unpadded)] = unpadded, lambda tensors: run(pad(tensors))[1]
            return unpadded
        if not parts:
            return overridden.get(id(layer), lambda tensors: run(tensors)[1])(padded(given))
        bare, run = run, lambda tensors: bare(pad(tensors))
        first, place = place, place + len(parts)
        pairs = [by_keras.get(part) for part in range(first, place)]
        if pairs[0] is None or pairs[-1] is None:
            return run(given)[1]
        start, end = match.torch_calls[match.pairs[pairs[0]].torch], match.torch_calls[match.pairs[pairs[-1]].torch]
        made = channels_last(layer, first_tensor(given))
        found.given[pairs[0]] = made
        if hides_its_sum(layer):
            found.unpatched.add(match.pairs[pairs[-1]].keras)
            return run(given)[1]
        if start.given is None or end.out is None:
            return run(given)[1]
        if match.pairs[pairs[0]].order is None and made.ndim == 2:
            shapes = [shape for *_, shape in match.keras_calls[match.pairs[pairs[0]].keras].between if len(shape) > 2]
            order = _order(start.given, made, {shape[-1] for shape in shapes} or range(2, made.shape[-1]))
            match.pairs[pairs[0]] = replace(match.pairs[pairs[0]], order=order)
        order = match.pairs[pairs[0]].order
        out = end.out if order is None or end.kind not in FEATUREWISE else end.out[..., order]
        if start.given.ndim > made.ndim and start.given.size == made.size:  # with axes of one pixel
            out = out.reshape(*made.shape[:-1], -1)
        try:
            before = run(_like(given, as_layer_has(layer, ordered(start.given, order))))[0]
            found.out[pairs[-1]] = channels_last(layer, first_tensor(before))
        except Exception as error:  # of whatever the layer is made of
            found.errors[pairs[-1]] = f"{type(error).__name__}: {error}".splitlines()[0]
            before = out
        forced = out if found.out.get(pairs[-1], out).ndim == out.ndim else out[:, -1]
        forced = as_layer_has(layer, forced)
        own_before, own = run(given)
        own_shape = first_tensor(own_before).shape
        if forced.ndim != len(own_shape) and forced.size == np.prod(own_shape):  # heads and their features, as one axis
            forced = forced.reshape(own_shape)
        if isinstance(before, (tuple, list)) or own_shape != forced.shape:
            found.unpatched.add(match.pairs[pairs[-1]].keras)
            return own
        return overridden.get(id(layer), activation)(tf.constant(forced))

    with watched(model, handler):
        output = first_tensor(model(inputs, training=False))
    last = by_keras.get(len(match.keras_calls) - 1)
    if last is not None:
        found.given[last] = np.asarray(output)
    return found


def ordered(array: NDArray, order: NDArray | None) -> NDArray:
    """Features in Keras's order."""
    return array if order is None else array[..., order]


def _like(given: Any, array: NDArray) -> Any:
    """PyTorch's input in place of Keras's, in a nest of the same form where it is one."""
    first = first_tensor(given)
    same = array.size == np.prod(first.shape) and array.ndim != len(first.shape)  # but for axes of one pixel
    tensor = tf.constant(array.reshape(first.shape) if same else array, first.dtype)
    return tensor if given is first else keras.tree.map_structure(lambda t: tensor if t is first else t, given)


def _order(ours: NDArray, theirs: NDArray, channels: Iterable[int]) -> NDArray | None:
    """The order of features under which PyTorch's input is nearest to Keras's; None where it is the same.

    Args:
        ours: PyTorch's.
        theirs: Keras's.
        channels: How many there may be in what was flattened.
    """
    if ours.shape != theirs.shape:
        return None
    count = ours.shape[-1]
    best, found = float(np.abs(ours - theirs).max(initial=0.0)), None
    for number in channels:
        if count % number == 0 and number < count:
            order = np.arange(count).reshape(number, -1).T.reshape(-1)
            difference = float(np.abs(ours[..., order] - theirs).max(initial=0.0))
            if difference < best:
                best, found = difference, order
    return found
