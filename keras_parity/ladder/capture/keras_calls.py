"""The calls in one run of a Keras model, and a hand in them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import keras
import tensorflow as tf

from keras_parity.ladder.capture.calls import OUTPUT, Call, Loss, find_parents, first_tensor, moved
from keras_parity.ladder.matching.arrays import RECURRENT, Array
from keras_parity.ladder.matching.kinds import (
    as_vectors,
    channels_last,
    hides_its_sum,
    inner_layer,
    keras_parts,
    kind_of,
)

Handler = Callable[[keras.Layer, Any, Callable[[Any], tuple[Any, Any]], Callable[[Any], Any]], Any]
"""(layer, input, run, activation) -> output: ``run`` gives (output before the activation, output) of an input."""


@contextmanager
def watched(model: keras.Model, handler: Handler) -> Iterator[None]:
    """Has every call of a layer without layers in it go through ``handler`` meanwhile."""
    inside = {id(part) for layer in _layers(model) if _is_unit(layer) for part in _layers(layer)}
    watched_layers = [layer for layer in _layers(model) if not _holds_layers(layer) and id(layer) not in inside]

    def wrap(layer: keras.Layer) -> tuple[Callable[..., Any], Any]:
        original: Callable[..., Any] = layer.call
        owner = inner_layer(layer)
        activation: Any = getattr(owner, "activation", None)
        inner = bool(state_of(layer)) and kind_of(owner, 1) not in RECURRENT and owner is layer and callable(activation)
        after = activation if inner else lambda out: out
        befores: list[Any] = []

        def listen(before: Any) -> Any:
            befores.append(before)
            return activation(before)

        def call(*args: Any, **kwargs: Any) -> Any:
            def run(given: Any) -> tuple[Any, Any]:
                befores.clear()
                out = original(given, *args[1:], **kwargs)
                return (befores[0] if befores else out), out

            return handler(layer, args[0], run, after)

        if inner:
            layer.activation = listen
        layer.call = call
        return original, activation if inner else None

    wrapped = [(layer, wrap(layer)) for layer in watched_layers]
    try:
        yield
    finally:
        for layer, (original, activation) in wrapped:
            del layer.call
            if layer.call != original:  # one that share_masks had set
                layer.call = original
            if activation is not None:
                layer.activation = activation


def _layers(layer: keras.Layer) -> list[keras.Layer]:
    return list(layer._flatten_layers(include_self=False))


def _is_unit(layer: keras.Layer) -> bool:
    """Whether a layer that holds others is watched as one: recurrent, or one layer applied to each step."""
    inner = inner_layer(layer)
    return kind_of(inner, 1) in RECURRENT or (inner is not layer and not _layers(inner))


def _holds_layers(layer: keras.Layer) -> bool:
    return bool(_layers(layer)) and not _is_unit(layer)


def state_of(layer: keras.Layer) -> list[tuple[str, list[Array]]]:
    """What ``keras_parts`` gives, where names do not matter; nothing for a layer that owns no state itself."""
    return keras_parts(layer, defaultdict(str))


def variable_names(model: keras.Model) -> dict[int, str]:
    """``"layer/kernel"`` by ``id`` of every variable: its path, without the model's name."""
    return {id(variable): variable.path.removeprefix(f"{model.name}/") for variable in model.variables}


def record_keras(
    model: keras.Model, names: dict[int, str], inputs: Any, loss: Loss | None = None, training: bool = False
) -> list[Call]:
    """Runs a model once and gives its calls; arguments and result as in ``record_torch``.

    Inside a ``tf.function`` the tensors of the calls are symbolic, so that ``keras_parents`` can follow them.

    Args:
        model: A copy of the user's.
        names: Of its variables, by ``id``.
        inputs: What it is called with.
        loss: Where it is given, gradients are recorded too.
        training: Whether in training mode.
    """
    calls: list[Call] = []
    outs: list[Any] = []
    between: list[tuple[str, Any, tuple[int, ...]]] = []

    def handler(layer: keras.Layer, given: Any, run: Any, _: Any) -> Any:
        before, out = run(given)
        parts = keras_parts(layer, names)
        if not parts:
            between.append((layer.name, layer, tuple(first_tensor(given).shape)))
            return out
        name = parts[0][1][0].name.rpartition("/")[0] or layer.name
        for place, (kind, arrays) in enumerate(parts):
            call = Call(name, layer, kind, arrays, between=tuple(between) if place == 0 else ())
            call.given = first_tensor(given) if place == 0 else None
            call.out = before if place == len(parts) - 1 and not hides_its_sum(layer) else None
            calls.append(call)
            outs.append(out)
        between.clear()
        return out

    with watched(model, handler), tf.GradientTape() if loss is not None else nullcontext() as tape:
        output = first_tensor(model(inputs, training=training))
        value = loss(output) if loss is not None else None
    if tape is not None:
        befores = [call.out for call in calls]
        found = tape.gradient(value, [tensor for tensor in befores if tensor is not None])
        gradients = iter(found)
        for call in calls:
            call.gradient = next(gradients) if call.out is not None else None
    last = Call(OUTPUT, None, OUTPUT, (), output, output, between=tuple(between))
    owners = {id(call.layer) for call in calls}
    loose = [
        Call(parts[0][1][0].name.rpartition("/")[0], layer, parts[0][0], parts[0][1])
        for layer in (model, *_layers(model))
        if _holds_layers(layer) and id(layer) not in owners and (parts := keras_parts(layer, names))
    ]
    _find_parents([*calls, last], outs)
    calls = [*loose, *moved(calls, len(loose)), *moved([last], len(loose))]
    for call in calls:
        given = call.given
        for key in ("given", "out", "gradient"):
            tensor = getattr(call, key)
            if tensor is not None and hasattr(tensor, "numpy"):
                setattr(call, key, channels_last(call.layer, as_vectors(call.layer, tensor.numpy(), given)))
    return calls


def _find_parents(calls: list[Call], outs: list[Any]) -> None:
    if tf.executing_eagerly():
        return
    known: dict[Any, int] = {}
    for place, out in enumerate(outs):
        known[first_tensor(out).name] = place  # of two parts of one layer, the last
    for place, call in enumerate(calls):
        if call.given is None:
            call.parents = ((place - 1, ()),)
            continue
        given: Any = call.given  # symbolic, while it is traced
        tensors: dict[str, tf.Tensor] = {given.name: given}

        def step(name: str, tensors: dict[str, Any] = tensors) -> Iterable[str]:
            inputs = tensors[name].op.inputs
            tensors.update({tensor.name: tensor for tensor in inputs})
            return [tensor.name for tensor in inputs]

        kind = lambda name, tensors=tensors: tensors[name].op.type  # noqa: E731
        call.parents = find_parents([given.name], known, step, kind)


def keras_parents(model: keras.Model, names: dict[int, str], inputs: Any) -> list[Any]:
    """The parents of the calls of a run, in their order: it is traced, since an eager run leaves no graph."""
    recorded: list[Call] = []

    def run(tensors: Any) -> tf.Tensor:
        recorded.extend(record_keras(model, names, tensors))
        return recorded[-1].given

    tf.function(run, autograph=False).get_concrete_function(inputs)
    return [call.parents for call in recorded]
