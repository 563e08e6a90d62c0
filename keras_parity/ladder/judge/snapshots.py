"""Snapshots of objects, and functions that restore them bit for bit."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import torch
from torch import nn


def snapshot(target: Any) -> Callable[[], None]:
    """Returns a function that restores an object's attributes, and the lists, dicts and sets among them."""
    attributes = dict(vars(target))
    tracked = getattr(attributes.get("_tracker"), "stored_ids", {})
    containers = [value for value in attributes.values() if isinstance(value, (list, dict, set))]
    refills = [_refill(value) for value in (*containers, *tracked.values())]

    def restore() -> None:
        vars(target).clear()
        vars(target).update(attributes)
        for refill in refills:
            refill()

    return restore


def refill_of(value: Any) -> Callable[[], None]:
    """Returns a function that restores a list's or dict's content; it does nothing for other values."""
    return _refill(value) if isinstance(value, (list, dict)) else lambda: None


def _refill(container: Any) -> Callable[[], None]:
    """Returns a function that restores a container, bypassing the tracking of Keras's and TensorFlow's own kinds."""
    container = getattr(container, "__wrapped__", getattr(container, "_storage", container))  # TensorFlow's proxies
    kind: Any = next(kind for kind in (OrderedDict, list, dict, set) if isinstance(container, kind))
    copied = kind(container)

    def refill() -> None:
        kind.clear(container)
        (list.extend if kind is list else kind.update)(container, copied)

    return refill


def rnn_states(model: keras.Model) -> list[keras.Variable]:
    """Returns the states that RNNs carry on from batch to batch, which Keras does not count as a model's variables."""
    states = [keras.tree.flatten(getattr(layer, "states", None)) for layer in model._flatten_layers()]
    return [state for some in states for state in some if isinstance(state, keras.Variable)]


@contextmanager
def unmoved(variables: Iterable[keras.Variable]) -> Iterator[None]:
    """Restores on exit the values that variables have now."""
    values = [(variable, keras.ops.convert_to_numpy(variable.value).copy()) for variable in variables]
    try:
        yield
    finally:
        for variable, value in values:
            variable.assign(value)


def optimizer_snapshot(optimizer: torch.optim.Optimizer) -> Callable[[], None]:
    """Returns a function that restores a PyTorch optimizer: attributes, the objects of its groups, and its state."""
    restores = [snapshot(optimizer), *map(_refill, (*optimizer.param_groups, *optimizer.state.values()))]

    def restore() -> None:
        for restore_one in restores:
            restore_one()

    return restore


def torch_snapshot(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> Callable[[], None]:
    """Returns a function that restores a module and its optimizer: submodules, attributes, weights, flags and state."""
    restores = [*map(snapshot, model.modules()), *([optimizer_snapshot(optimizer)] if optimizer is not None else [])]
    flags = [(module, module.training) for module in model.modules()]  # a ScriptModule keeps it elsewhere
    entries = list(optimizer.state.values()) if optimizer is not None else []
    state = [value for entry in entries for value in entry.values() if isinstance(value, torch.Tensor)]
    tensors = {id(t): t for t in (*model.parameters(), *model.buffers(), *state)}
    saved = [(t, t.data, t.data.clone(), t.requires_grad) for t in tensors.values()]

    def restore() -> None:
        for restore_one in restores:
            restore_one()
        for module, training in flags:
            module.training = training
        for tensor, data, value, trainable in saved:
            tensor.data = data
            tensor.data.copy_(value)
            tensor.requires_grad_(trainable) if tensor.is_leaf else None

    return restore


def in_dtype(data: torch.Tensor, dtype: torch.dtype, storages: dict[int, torch.Tensor]) -> torch.Tensor:
    """Makes an empty tensor of another dtype; views of one storage, such as tied weights, stay views of one.

    Args:
        data: The original.
        dtype: The new dtype.
        storages: Filled with the new storages, by the address of the original's.
    """
    whole = data.untyped_storage()
    if whole.data_ptr() not in storages:
        storages[whole.data_ptr()] = torch.empty(whole.nbytes() // data.element_size(), dtype=dtype, device=data.device)
    return storages[whole.data_ptr()].as_strided(data.size(), data.stride(), data.storage_offset())


def keras_snapshot(model: keras.Model) -> Callable[[], None]:
    """Returns a function that restores a Keras model: the attributes of its layers and the values of its variables."""
    layers = [snapshot(layer) for layer in model._flatten_layers(include_self=True)]
    kept = [*model.variables, *rnn_states(model)]
    variables = [(v, keras.ops.convert_to_numpy(v.value).copy(), v.trainable) for v in kept]

    def restore() -> None:
        for restore_layer in layers:
            restore_layer()
        for variable, value, trainable in variables:
            variable.assign(value)
            variable.trainable = trainable

    return restore
