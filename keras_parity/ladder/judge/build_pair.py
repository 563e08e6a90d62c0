"""Prepares a ``ModelPair``: converts the arguments of ``check`` and fills in defaults."""

from typing import Any

import keras
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cnn_mnist.errors import UserError
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import leaves, map_nest
from keras_parity.ladder.judge.probe import inspect_outputs, why_random


def prepare(pair: ModelPair) -> ModelPair:
    """Converts the arguments of ``check``, fills in defaults and inspects the outputs of both models.

    Args:
        pair: The arguments as the user gave them: nests of arrays or tensors [count, ...]; ``torch_images`` None for
            the transposed ``images``, ``torch_labels`` None for ``labels``; ``keras_optimizer`` an optimizer, a
            function that returns one, its name, or None.

    Returns:
        The pair, ready to run.

    Raises:
        UserError: An argument is wrong, or a model rejects the inputs.
    """
    given: Any = pair.keras_model
    if isinstance(pair.torch_model, keras.Model) or (
        isinstance(given, nn.Module) and not isinstance(given, keras.Model)
    ):
        raise UserError("expected check(torch_model, keras_model, ...), got the two models swapped; exchange them")
    half = {str(p.dtype) for p in pair.torch_model.parameters() if p.dtype in (torch.bfloat16, torch.float16)}
    if half:  # it would be compared in float32, where it is another function
        raise UserError(
            f"expected PyTorch weights in float32, got {' and '.join(half)}; call torch_model.float() first"
        )
    for name in ("images", "torch_images", "labels", "torch_labels", "sample_weight"):
        if getattr(pair, name) is not None:
            setattr(pair, name, map_nest(_to_array, getattr(pair, name)))
    if pair.labels is not None:
        pair.labels = map_nest(lambda array: array.astype(np.int64) if array.dtype.kind == "b" else array, pair.labels)
    if pair.torch_labels is None:
        pair.torch_labels = pair.labels
    if pair.torch_images is None:
        pair.torch_images = map_nest(_channels_first, pair.images)
    counts = {len(array) for nest in (pair.images, pair.torch_images, pair.labels) for array in leaves(nest)}
    if len(counts) > 1 or 0 in counts:
        raise UserError(
            f"expected as many labels as images, at least 1, got {sorted(counts)} samples; axis 0 counts the samples"
        )
    count = counts.pop()
    fixed = [tensor.shape[0] for tensor in getattr(given, "inputs", None) or [] if tensor.shape[0] is not None]
    if fixed and count < fixed[0]:
        raise UserError(
            f"Keras's model takes batches of {fixed[0]} samples, got {count}; pass at least {fixed[0]} images"
        )
    pair.fixed_batch = fixed[0] if fixed else None
    pair.batch_size = pair.fixed_batch or min(pair.batch_size, count)
    optimizer: Any = pair.keras_optimizer
    if isinstance(optimizer, str):
        pair.keras_optimizer = keras.optimizers.get(optimizer)
    elif optimizer is None and pair.keras_model.compiled:
        pair.keras_optimizer = pair.keras_model.optimizer
    elif optimizer is not None and not isinstance(optimizer, keras.Optimizer):
        pair.keras_optimizer = optimizer()
    if pair.labels is not None:
        _set_default_optimizers(pair)
    inspect_outputs(pair)
    pair.random = why_random(pair)
    _drop_state_of_one_side(pair)
    return pair


def _drop_state_of_one_side(pair: ModelPair) -> None:
    """Replaces Keras's optimizer with a new one if it has taken steps, as after ``fit``, and PyTorch's has not."""
    optimizer = pair.keras_optimizer
    if pair.optimizer is None or optimizer is None or pair.brings_training:
        return
    taken = int(keras.ops.convert_to_numpy(optimizer.iterations.value)) if optimizer.built else 0
    if taken and not pair.optimizer.state:
        pair.keras_optimizer = copy_optimizer(optimizer, pair.keras_model, pair.keras_model)
        text = f"Keras's optimizer has taken {taken} steps, PyTorch's none; both start without state in this comparison"
        pair.optimizer_note = "; ".join(filter(None, [pair.optimizer_note, text]))


def _to_array(values: Any) -> NDArray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()  # numpy has no bfloat16
    array = np.asarray(values)
    if not array.ndim:
        kind = type(values).__name__
        raise UserError(f"expected arrays or tensors [count, ...], got {kind}; pass the arrays of some batches")
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    return array.astype(np.int64) if array.dtype.kind in "iu" else array


def _channels_first(array: NDArray) -> NDArray:
    return np.ascontiguousarray(np.moveaxis(array, -1, 1)) if array.ndim == 4 and array.dtype.kind == "f" else array


def _set_default_optimizers(pair: ModelPair) -> None:
    """Gives both sides SGD if neither has an optimizer; if only one has, notes the missing argument."""
    has_torch = pair.torch_optimizer is not None or pair.brings_training
    has_keras = pair.keras_optimizer is not None
    if not has_torch and not has_keras:
        pair.keras_optimizer = keras.optimizers.SGD(0.01)
        pair.optimizer_note = "no optimizer given: both sides train with SGD, learning rate 0.01"
    elif not (has_torch and has_keras):
        pair.missing_optimizer = "keras_optimizer" if has_torch else "torch_optimizer"


def copy_optimizer(optimizer: keras.Optimizer, model: keras.Model, copy: keras.Model) -> keras.Optimizer:
    """Copies an optimizer's settings, without its state.

    Args:
        optimizer: The optimizer of ``model``.
        model: A built model.
        copy: The model that the new optimizer will train: a copy of ``model``, or ``model`` itself.
    """
    made = type(optimizer).from_config(optimizer_config(optimizer))
    excluded = getattr(optimizer, "_exclude_from_weight_decay", None)
    if excluded is not None:  # missing from the configuration
        sides = zip(model.trainable_variables, copy.trainable_variables, strict=True)
        made.exclude_from_weight_decay([new for old, new in sides if optimizer._var_key(old) in excluded])
        made._exclude_from_weight_decay_pattern = optimizer._exclude_from_weight_decay_pattern
    return made


def optimizer_config(optimizer: keras.Optimizer) -> dict[str, Any]:
    """Returns an optimizer's settings; its schedule is the object itself: users' own may lack ``get_config``."""
    schedule = optimizer._learning_rate
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        return optimizer.get_config()
    vars(optimizer)["_learning_rate"] = None
    try:
        return optimizer.get_config() | {"learning_rate": schedule}
    finally:
        vars(optimizer)["_learning_rate"] = schedule
