"""Intercepts and records the calls in one run of a Keras model."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_parity.ladder.capture.calls import OUTPUT, Call, Loss, Stateless, first_tensor, with_containers
from keras_parity.ladder.judge.keras_runner import restore_call
from keras_parity.ladder.matching.arrays import Array
from keras_parity.ladder.matching.kinds import (
    as_vectors,
    channels_last,
    hides_preactivation,
    inner_layer,
    is_recurrent,
    keras_parts,
)
from keras_parity.twin.engines import ENGINE

Handler = Callable[[keras.Layer, Any, Callable[..., tuple[Any, Any]], Callable[[Any], Any]], Any]
"""(layer, input, run, activation) -> output.

``run`` maps an input, and optionally a tensor to add to the output before the activation, to (that output, output).
"""


@contextmanager
def intercepted(model: keras.Model, handler: Handler) -> Iterator[None]:
    """Routes every call of a layer without sublayers through ``handler`` inside the context."""
    inside = {id(inner) for layer in _layers(model) if _is_unit(layer) for inner in _layers(layer)}
    layers = [layer for layer in _layers(model) if not _holds_layers(layer) and id(layer) not in inside]

    def wrap(layer: keras.Layer) -> tuple[Callable[..., Any], Any]:
        original: Callable[..., Any] = layer.call
        owner = inner_layer(layer)
        activation: Any = getattr(owner, "activation", None)
        fused = bool(state_of(layer)) and not is_recurrent(owner) and owner is layer and callable(activation)
        preactivations: list[Any] = []
        added: list[Any] = []

        def record(preactivation: Any) -> Any:
            preactivations.append(preactivation + added.pop() if added else preactivation)
            return activation(preactivations[-1])

        def call(*args: Any, **kwargs: Any) -> Any:
            def run(fed: Any, more: Any = None) -> tuple[Any, Any]:
                preactivations.clear()
                added[:] = [] if more is None else [more]
                out = original(fed, *args[1:], **kwargs)
                if added:  # nothing called an activation of its own
                    first, more = first_tensor(out), added.pop()
                    out = keras.tree.map_structure(lambda tensor: tensor + more if tensor is first else tensor, out)
                return (preactivations[0] if preactivations else out), out

            return handler(layer, args[0], run, activation if fused else lambda out: out)

        if fused:
            layer.activation = record
        layer.call = call
        return original, activation if fused else None

    wrapped = [(layer, wrap(layer)) for layer in layers]
    try:
        yield
    finally:
        for layer, (original, activation) in wrapped:
            restore_call(layer, original)
            if activation is not None:
                layer.activation = activation


def _layers(layer: keras.Layer) -> list[keras.Layer]:
    return list(layer._flatten_layers(include_self=False))


def _is_unit(layer: keras.Layer) -> bool:
    """Whether a layer that holds others is recorded as one: an RNN, or a layer applied to each time step."""
    inner = inner_layer(layer)
    return is_recurrent(inner) or (inner is not layer and not _layers(inner))


def _holds_layers(layer: keras.Layer) -> bool:
    return bool(_layers(layer)) and not _is_unit(layer)


def state_of(layer: keras.Layer) -> list[tuple[str, list[Array]]]:
    """Returns ``keras_parts`` without array names; empty for a layer that owns no state itself."""
    return keras_parts(layer, defaultdict(str))


class Observed(NamedTuple):
    """What one run shows, in tensors of the backend.

    Attributes:
        calls: The calls in order, without parents; the last is the model's output.
        outs: The output of each call but the last.
        stateless: The calls of layers without state, with their outputs.
    """

    calls: list[Call]
    outs: list[Any]
    stateless: list[tuple[Stateless, Any]]


def observe(model: keras.Model, names: dict[int, str], inputs: Any, training: bool = False) -> Observed:
    """Runs a model once, eagerly or while it is traced; see ``record_keras``."""
    calls: list[Call] = []
    outs: list[Any] = []
    between: list[Stateless] = []
    passed: list[tuple[Stateless, Any]] = []

    def handler(layer: keras.Layer, fed: Any, run: Any, _: Any) -> Any:
        preactivation, out = run(fed)
        parts = keras_parts(layer, names)
        if not parts:
            between.append((layer.name, layer, tuple(first_tensor(fed).shape)))
            passed.append((between[-1], first_tensor(out)))
            return out
        name = parts[0][1][0].name.rpartition("/")[0] or layer.name
        for place, (kind, arrays) in enumerate(parts):
            call = Call(name, layer, kind, arrays, between=tuple(between) if place == 0 else ())
            call.input = first_tensor(fed) if place == 0 else None
            call.output = preactivation if place == len(parts) - 1 and not hides_preactivation(layer) else None
            calls.append(call)
            outs.append(out)
        between.clear()
        return out

    with intercepted(model, handler):
        output = first_tensor(model(inputs, training=training))
    calls.append(Call(OUTPUT, None, OUTPUT, (), output, output, between=tuple(between)))
    return Observed(calls, outs, passed)


def containers(model: keras.Model, names: dict[int, str], calls: list[Call]) -> list[Call]:
    """Returns calls for the layers that own state and hold other layers; their own calls are not seen."""
    owners = {id(call.layer) for call in calls}
    return [
        Call(parts[0][1][0].name.rpartition("/")[0], layer, parts[0][0], parts[0][1])
        for layer in (model, *_layers(model))
        if _holds_layers(layer) and id(layer) not in owners and (parts := keras_parts(layer, names))
    ]


def record_keras(
    model: keras.Model, names: dict[int, str], inputs: Any, loss: Loss | None = None, training: bool = False
) -> list[Call]:
    """Runs a model and records its calls, without parents; see ``keras_paths``.

    Args:
        model: A copy of the user's model.
        names: Name by ``id`` of each variable.
        inputs: The arguments of the call.
        loss: If given, gradients are recorded too, in a second run from the same statistics.
        training: Whether to run in training mode.

    Returns:
        The calls in order; the last is the model's output.
    """
    before = [(variable, variable.numpy()) for variable in model.non_trainable_variables] if loss is not None else []
    calls = observe(model, names, inputs, training).calls
    found: dict[int, Any] = {}
    if loss is not None:
        for variable, value in before:
            variable.assign(value)
        found = _gradients(model, inputs, loss, calls, training)
    for place, call in enumerate(calls):
        call.gradient, fed = found.get(place), call.input
        for key in ("input", "output", "gradient"):
            tensor = getattr(call, key)
            if keras.ops.is_tensor(tensor):
                array = keras.ops.convert_to_numpy(tensor)
                setattr(call, key, channels_last(call.layer, as_vectors(call.layer, array, fed)))
    return with_containers(containers(model, names, calls), calls)


def _gradients(model: keras.Model, inputs: Any, loss: Loss, calls: list[Call], training: bool) -> dict[int, Any]:
    """Returns the gradients of the calls' outputs by place, as gradients of zeros added to the outputs."""
    outputs = {place: first_tensor(call.output) for place, call in enumerate(calls[:-1]) if call.output is not None}
    dtypes = {place: keras.backend.standardize_dtype(output.dtype) for place, output in outputs.items()}
    zeros = {n: keras.Variable(np.zeros(tuple(out.shape)), dtype=dtypes[n]) for n, out in outputs.items()}

    def value() -> Any:
        place = -1

        def handler(layer: keras.Layer, fed: Any, run: Any, _: Any) -> Any:
            nonlocal place
            parts = state_of(layer)
            place += len(parts)
            return run(fed, zeros[place].value if parts and place in zeros else None)[1]

        with intercepted(model, handler):
            return loss(first_tensor(model(inputs, training=training)))

    found = ENGINE.gradients(value, list(zeros.values()), model.non_trainable_variables)[1]
    return dict(zip(zeros, found, strict=True))
