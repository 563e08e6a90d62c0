"""Finds which calls of a Keras model feed which."""

from collections.abc import Callable
from typing import Any

import keras

from cnn_mnist.errors import UserError
from keras_parity.ladder.capture.calls import Call, find_parents, first_tensor, with_containers
from keras_parity.ladder.capture.keras_calls import Observed, containers, observe

_POOLS: dict[type[keras.Layer], str] = {keras.layers.MaxPooling2D: "max", keras.layers.AveragePooling2D: "average"}
"""The layers that stand for the ``JOINS`` of a ``Sequential`` model."""


def keras_paths(model: keras.Model, names: dict[int, str], inputs: Any) -> list[tuple[Any, Any]]:
    """Returns ``parents`` and ``between`` of each call of ``record_keras``.

    Raises:
        UserError: Keras runs on a backend whose graph is not read here, and the model is not a ``Sequential``.
    """
    if keras.config.backend() == "tensorflow":
        calls = _traced(model, names, inputs)
    elif isinstance(model, keras.Sequential):
        calls = observe(model, names, inputs).calls
        _follow_order(calls)
    else:
        raise UserError(
            f"expected a keras.Sequential model, because Keras runs on {keras.config.backend()}, got a "
            f"{type(model).__name__}; set KERAS_BACKEND=tensorflow, or call keras_parity.check, which judges any model"
        )
    return [(call.parents, call.between) for call in with_containers(containers(model, names, calls), calls)]


def _follow_order(calls: list[Call]) -> None:
    """Sets the parents of a ``Sequential`` model's calls."""
    for place, call in enumerate(calls):
        joins = {join for _, layer, _ in call.between for kind, join in _POOLS.items() if isinstance(layer, kind)}
        call.parents = ((place - 1, tuple(sorted(joins))),) if place else ()


def _traced(model: keras.Model, names: dict[int, str], inputs: Any) -> list[Call]:
    """Traces the model with TensorFlow, since an eager run leaves no graph."""
    import tensorflow as tf  # deferred: Keras may run on another backend

    observed: list[Observed] = []

    def run(tensors: Any) -> tf.Tensor:
        observed.append(observe(model, names, tensors))
        return observed[-1].calls[-1].input

    tf.function(run, autograph=False).get_concrete_function(inputs)
    _follow_graph(observed[-1])
    return observed[-1].calls


def _follow_graph(observed: Observed) -> None:
    """Sets the parents of calls, and the stateless layers on the way from them; branches run in any order.

    A layer that returns its own input is not seen on the way; it stays with the call that follows it.
    """
    before: Callable[[Any], Any] = lambda op: [tensor.op for tensor in op.inputs]  # noqa: E731
    known: dict[Any, int] = {}
    for place, out in enumerate(observed.outs):
        known[first_tensor(out).op] = place  # of two parts of one layer, the last
    for place, call in enumerate(observed.calls):
        fed: Any = call.input
        if fed is None:
            call.parents = ((place - 1, ()),)
            continue
        way: dict[Any, Any] = {}
        call.parents = find_parents([fed.op], known, before, lambda op: op.type, way)
        followed = [id(layer) for _, layer, _ in call.between]
        call.between = tuple(
            each for each, out in observed.stateless if out.op in way or (out.op in known and id(each[1]) in followed)
        )
