"""Intercepts and records the calls in one run of a Keras model."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import keras

from keras_parity.ladder.capture.backend import tf
from keras_parity.ladder.capture.calls import OUTPUT, Call, Loss, Stateless, find_parents, first_tensor, with_containers
from keras_parity.ladder.judge.keras_runner import restore_call
from keras_parity.ladder.matching.arrays import RECURRENT, Array
from keras_parity.ladder.matching.kinds import (
    as_vectors,
    channels_last,
    hides_preactivation,
    inner_layer,
    keras_parts,
    kind_of,
)

Handler = Callable[[keras.Layer, Any, Callable[[Any], tuple[Any, Any]], Callable[[Any], Any]], Any]
"""(layer, input, run, activation) -> output. ``run`` maps an input to (output before the activation, output)."""


@contextmanager
def intercepted(model: keras.Model, handler: Handler) -> Iterator[None]:
    """Routes every call of a layer without sublayers through ``handler`` inside the context."""
    inside = {id(inner) for layer in _layers(model) if _is_unit(layer) for inner in _layers(layer)}
    layers = [layer for layer in _layers(model) if not _holds_layers(layer) and id(layer) not in inside]

    def wrap(layer: keras.Layer) -> tuple[Callable[..., Any], Any]:
        original: Callable[..., Any] = layer.call
        owner = inner_layer(layer)
        activation: Any = getattr(owner, "activation", None)
        fused = bool(state_of(layer)) and kind_of(owner, 1) not in RECURRENT and owner is layer and callable(activation)
        preactivations: list[Any] = []

        def record(preactivation: Any) -> Any:
            preactivations.append(preactivation)
            return activation(preactivation)

        def call(*args: Any, **kwargs: Any) -> Any:
            def run(fed: Any) -> tuple[Any, Any]:
                preactivations.clear()
                out = original(fed, *args[1:], **kwargs)
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
    return kind_of(inner, 1) in RECURRENT or (inner is not layer and not _layers(inner))


def _holds_layers(layer: keras.Layer) -> bool:
    return bool(_layers(layer)) and not _is_unit(layer)


def state_of(layer: keras.Layer) -> list[tuple[str, list[Array]]]:
    """Returns ``keras_parts`` without array names; empty for a layer that owns no state itself."""
    return keras_parts(layer, defaultdict(str))


def record_keras(
    model: keras.Model, names: dict[int, str], inputs: Any, loss: Loss | None = None, training: bool = False
) -> list[Call]:
    """Runs a model once and records its calls.

    Inside a ``tf.function`` the recorded tensors are symbolic, so that ``keras_parents`` can follow them.

    Args:
        model: A copy of the user's model.
        names: Name by ``id`` of each variable.
        inputs: The arguments of the call.
        loss: If given, gradients are recorded too.
        training: Whether to run in training mode.

    Returns:
        The calls in order; the last is the model's output.
    """
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

    with intercepted(model, handler), tf.GradientTape() if loss is not None else nullcontext() as tape:
        output = first_tensor(model(inputs, training=training))
        value = loss(output) if loss is not None else None
    if tape is not None:
        gradients = iter(tape.gradient(value, [call.output for call in calls if call.output is not None]))
        for call in calls:
            call.gradient = next(gradients) if call.output is not None else None
    owners = {id(call.layer) for call in calls}
    containers = [
        Call(parts[0][1][0].name.rpartition("/")[0], layer, parts[0][0], parts[0][1])
        for layer in (model, *_layers(model))
        if _holds_layers(layer) and id(layer) not in owners and (parts := keras_parts(layer, names))
    ]
    calls.append(Call(OUTPUT, None, OUTPUT, (), output, output, between=tuple(between)))
    _find_parents(calls, outs, passed)
    for call in calls:
        fed = call.input
        for key in ("input", "output", "gradient"):
            tensor = getattr(call, key)
            if tensor is not None and hasattr(tensor, "numpy"):
                setattr(call, key, channels_last(call.layer, as_vectors(call.layer, tensor.numpy(), fed)))
    return with_containers(containers, calls)


def _find_parents(calls: list[Call], outs: list[Any], passed: list[tuple[Stateless, Any]]) -> None:
    """Sets the parents of calls, and the stateless layers on the way from them; branches run in any order.

    A layer that returns its own input is not seen on the way; it stays with the call that follows it.
    """
    if tf.executing_eagerly():
        return
    known: dict[Any, int] = {}
    for place, out in enumerate(outs):
        known[first_tensor(out).op] = place  # of two parts of one layer, the last
    for place, call in enumerate(calls):
        fed: Any = call.input
        if fed is None:
            call.parents = ((place - 1, ()),)
            continue
        way: dict[Any, Any] = {}
        call.parents = find_parents([fed.op], known, lambda op: [x.op for x in op.inputs], lambda op: op.type, way)
        followed = [id(layer) for _, layer, _ in call.between]
        call.between = tuple(
            each for each, out in passed if out.op in way or (out.op in known and id(each[1]) in followed)
        )


def keras_paths(model: keras.Model, names: dict[int, str], inputs: Any) -> list[tuple[Any, Any]]:
    """Returns ``parents`` and ``between`` of each call; traces the model, since an eager run leaves no graph."""
    recorded: list[Call] = []

    def run(tensors: Any) -> tf.Tensor:
        recorded.extend(record_keras(model, names, tensors))
        return recorded[-1].input

    tf.function(run, autograph=False).get_concrete_function(inputs)
    return [(call.parents, call.between) for call in recorded]
