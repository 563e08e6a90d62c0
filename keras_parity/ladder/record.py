"""One run of a model, as the calls of its layers: what went in, what came out, and which fed which."""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.kinds import RECURRENT, Array, in_keras_layout, keras_parts, kind_of, torch_arrays

JOINS = {  # PyTorch's and TensorFlow's names of what makes a path another one
    **dict.fromkeys(("AddBackward0", "AddV2", "AddN"), "add"),
    **dict.fromkeys(("CatBackward0", "ConcatV2"), "concatenate"),
    **dict.fromkeys(("MaxPool2DWithIndicesBackward0", "MaxPool"), "max"),
    **dict.fromkeys(("AvgPool2DBackward0", "AvgPool"), "average"),
}

OUTPUT = "output"


@dataclass
class Call:
    """One call of a layer that owns state.

    Attributes:
        name: Of the module, or of the layer.
        layer: The module or the layer; None for the model's output, which stands last.
        kind: See ``kind_of``.
        arrays: What it owns: shape by role in PyTorch, arrays in Keras.
        given: What went in, its axes as Keras has them; None where that is not seen.
        out: What came out, before the activation inside the layer.
        parents: The calls that fed it, by place, and through what.
        between: The layers without state that ran since the last call with state: (name, layer, its input's shape).
        gradient: Of the loss, with respect to ``out``.
    """

    name: str
    layer: Any
    kind: str
    arrays: Any = ()
    given: NDArray | None = None
    out: NDArray | None = None
    parents: tuple[tuple[int, tuple[str, ...]], ...] = ()
    between: tuple[tuple[str, Any, tuple[int, ...]], ...] = ()
    gradient: NDArray | None = field(default=None, repr=False)


Loss = Callable[[Any], Any]
"""Mean loss of a model's output."""


def first_tensor(value: Any) -> Any:
    """The tensor itself, or the first of a nest of tensors."""
    return keras.tree.flatten(value)[0]


def record_torch(network: nn.Module, inputs: Sequence[torch.Tensor], loss: Loss | None = None) -> list[Call]:
    """Runs a module once, in the mode that it is in, and gives its calls in order; the output stands last.

    Args:
        network: A copy of the user's, whose hooks and gradients are of no interest.
        inputs: What it is called with.
        loss: Where it is given, gradients are recorded too.
    """
    calls: list[Call] = []
    nodes: dict[Any, int] = {}
    outs: list[torch.Tensor | None] = []
    between: list[tuple[str, Any, tuple[int, ...]]] = []

    def keep(name: str, module: nn.Module) -> Callable[..., None]:
        kind, arrays = kind_of(module, 0), torch_arrays(module)

        def hook(_: Any, args: Any, output: Any) -> None:
            if not arrays and not isinstance(module, nn.RNNBase):
                between.append((name, module, tuple(first_tensor(args).shape)))
                return
            given, out = first_tensor(args), first_tensor(output)
            call = Call(name, module, kind, arrays, _array(kind, given, module), _array(kind, out, module))
            call.parents, call.between = _torch_parents(given, nodes), tuple(between)
            between.clear()
            if out.requires_grad:
                nodes[out.grad_fn] = len(calls)
                if loss is not None:
                    out.retain_grad()
            calls.append(call)
            outs.append(out)

        return hook

    loose = []
    handles = []
    for name, module in network.named_modules():
        holds_others = bool(list(module.children())) and not isinstance(module, nn.MultiheadAttention)
        if not holds_others:
            handles.append(module.register_forward_hook(keep(name, module)))
        elif arrays := torch_arrays(module):
            loose.append(Call(name, module, kind_of(module, 0), arrays))
    for tensor in inputs:
        tensor.requires_grad_(tensor.is_floating_point())
    try:
        output = first_tensor(network(*inputs))
        if loss is not None:
            loss(output).backward()
            for call, out in zip(calls, outs, strict=True):
                if out is not None and out.grad is not None:
                    call.gradient = _array(call.kind, out.grad, call.layer)
    finally:
        for handle in handles:
            handle.remove()
        for tensor in inputs:
            tensor.requires_grad_(False)
    array = output.detach().cpu().numpy().copy()
    array = np.moveaxis(array, 1, -1) if array.ndim == 4 else array
    return [*loose, *_moved(calls, len(loose)), Call(OUTPUT, None, OUTPUT, (), array, array,
        _shifted(_torch_parents(output, nodes), len(loose)), tuple(between))]  # fmt: skip


def _array(kind: str, tensor: torch.Tensor, module: nn.Module) -> NDArray:
    array = tensor.detach().cpu().numpy().copy()
    if kind in RECURRENT and not getattr(module, "batch_first", True) and array.ndim == 3:
        return array.swapaxes(0, 1)
    if isinstance(module, nn.LayerNorm) and type(module).__name__.endswith("2d"):  # torchvision's, of images
        return np.moveaxis(array, 1, -1)
    return in_keras_layout(kind, array)


def _shifted(parents: Any, by: int) -> Any:
    return tuple((place + by, joins) for place, joins in parents)


def _moved(calls: Iterable[Call], by: int) -> Iterator[Call]:
    for call in calls:
        call.parents = _shifted(call.parents, by)
        yield call


def _torch_parents(tensor: torch.Tensor, nodes: dict[Any, int]) -> tuple[tuple[int, tuple[str, ...]], ...]:
    def step(node: Any) -> Iterable[Any]:
        return [n for n, _ in node.next_functions if n is not None]

    return _parents([tensor.grad_fn] if tensor.grad_fn is not None else [], nodes, step, lambda node: node.name())


def _parents(starts: Iterable[Any], known: dict[Any, int], step: Any, name: Any) -> Any:
    """The known nodes that the starts lead back to, each with the joins on the way there."""
    found: dict[int, set[str]] = {}
    seen: dict[Any, frozenset[str]] = {}
    waiting = [(node, frozenset[str]()) for node in starts]
    while waiting:
        node, joins = waiting.pop()
        if node in known:
            found.setdefault(known[node], set()).update(joins)
            continue
        joins |= {JOINS[name(node)]} if name(node) in JOINS else frozenset()
        if node in seen and joins <= seen[node]:
            continue
        seen[node] = seen.get(node, frozenset()) | joins
        waiting.extend((before, joins) for before in step(node))
    return tuple((place, tuple(sorted(joins))) for place, joins in sorted(found.items()))


Handler = Callable[[keras.Layer, Any, Callable[[Any], tuple[Any, Any]], Callable[[Any], Any]], Any]
"""(layer, input, run, activation) -> output: ``run`` gives (output before the activation, output) of an input."""


@contextmanager
def watched(model: keras.Model, handler: Handler) -> Iterator[None]:
    """Has every call of a layer without layers in it go through ``handler`` meanwhile."""
    inside = {id(part) for layer in _layers(model) if kind_of(layer, 1) in RECURRENT for part in _layers(layer)}
    watched_layers = [layer for layer in _layers(model) if not _holds_layers(layer) and id(layer) not in inside]

    def wrap(layer: keras.Layer) -> tuple[Callable[..., Any], Any]:
        original: Callable[..., Any] = layer.call
        activation: Any = getattr(layer, "activation", None)
        inner = bool(state_of(layer)) and kind_of(layer, 1) not in RECURRENT and callable(activation)
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


def _holds_layers(layer: keras.Layer) -> bool:
    return bool(_layers(layer)) and kind_of(layer, 1) not in RECURRENT


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
            call.out = before if place == len(parts) - 1 else None
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
    calls = [*loose, *_moved(calls, len(loose)), *_moved([last], len(loose))]
    for call in calls:
        for key in ("given", "out", "gradient"):
            tensor = getattr(call, key)
            if tensor is not None and hasattr(tensor, "numpy"):
                setattr(call, key, tensor.numpy())
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
        call.parents = _parents([given.name], known, step, kind)


def keras_parents(model: keras.Model, names: dict[int, str], inputs: Any) -> list[Any]:
    """The parents of the calls of a run, in their order: it is traced, since an eager run leaves no graph."""
    recorded: list[Call] = []

    def run(tensors: Any) -> tf.Tensor:
        recorded.extend(record_keras(model, names, tensors))
        return recorded[-1].given

    tf.function(run, autograph=False).get_concrete_function(inputs)
    return [call.parents for call in recorded]
