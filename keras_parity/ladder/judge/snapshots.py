"""What puts objects back as they were, to the bit."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import keras
import torch
from torch import nn


def snapshot(each: Any) -> Callable[[], None]:
    """Gives what puts an object's attributes back, and the lists, dicts and sets among them."""
    attributes = dict(vars(each))
    tracked = getattr(attributes.get("_tracker"), "stored_ids", {})
    containers = [value for value in attributes.values() if isinstance(value, (list, dict, set))]
    refills = [_refill(value) for value in (*containers, *tracked.values())]

    def restore() -> None:
        vars(each).clear()
        vars(each).update(attributes)
        for refill in refills:
            refill()

    return restore


def _refill(container: Any) -> Callable[[], None]:
    """The same of a container, past the tracking that Keras's own kinds of them do."""
    container = getattr(container, "__wrapped__", getattr(container, "_storage", container))  # TensorFlow's proxies
    kind: Any = next(kind for kind in (OrderedDict, list, dict, set) if isinstance(container, kind))
    copied = kind(container)

    def refill() -> None:
        kind.clear(container)
        (list.extend if kind is list else kind.update)(container, copied)

    return refill


def torch_snapshot(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> Callable[[], None]:
    """Gives what puts a module back: its parts, their attributes, weights and flags, and its optimizer's."""
    modules = [snapshot(module) for module in model.modules()]
    tensors = {id(t): t for t in (*model.parameters(), *model.buffers())}
    kept = [(t, t.data, t.data.clone(), t.requires_grad) for t in tensors.values()]
    groups = [(group, dict(group)) for group in optimizer.param_groups] if optimizer is not None else []
    attributes = snapshot(optimizer) if optimizer is not None else None
    state = {p: dict(values) for p, values in optimizer.state.items()} if optimizer is not None else {}
    values = [(t, t.clone()) for entry in state.values() for t in entry.values() if isinstance(t, torch.Tensor)]

    def restore() -> None:
        for put_back in modules:
            put_back()
        for tensor, data, value, trained in kept:
            tensor.data = data
            tensor.data.copy_(value)
            tensor.requires_grad_(trained) if tensor.is_leaf else None
        if attributes is not None:
            attributes()
        for group, words in groups:
            group.clear()
            group.update(words)
        for tensor, value in values:
            tensor.copy_(value)

    return restore


def keras_snapshot(model: keras.Model) -> Callable[[], None]:
    """Gives what puts a Keras model back: the attributes of its layers, and what its variables hold."""
    layers = [snapshot(layer) for layer in model._flatten_layers(include_self=True)]
    variables = [(v, keras.ops.convert_to_numpy(v.value).copy(), v.trainable) for v in model.variables]

    def restore() -> None:
        for put_back in layers:
            put_back()
        for variable, value, trained in variables:
            variable.assign(value)
            variable.trainable = trained

    return restore
