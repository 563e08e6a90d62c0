"""Builds a ``ModelPair`` from the arguments of ``check``."""

from typing import Any

import keras
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cnn_mnist.errors import UserError
from keras_parity.ladder.judge.model_pair import KerasOptimizerLike, ModelPair
from keras_parity.ladder.judge.nests import leaves, map_nest
from keras_parity.ladder.judge.probe import inspect_outputs


def build_model_pair(
    torch_model: nn.Module,
    keras_model: keras.Model,
    images: Any,
    labels: Any = None,
    *,
    torch_images: Any = None,
    torch_labels: Any = None,
    keras_optimizer: KerasOptimizerLike = None,
    sample_weight: Any = None,
    batch_size: int = 32,
    **rest: Any,
) -> ModelPair:
    """Converts the arguments of ``check``, fills in defaults and inspects the outputs of both models.

    Args:
        torch_model: See ``check``.
        keras_model: See ``check``.
        images: A nest of arrays or tensors [count, ...].
        labels: A nest of arrays or tensors [count, ...], or None.
        torch_images: Replaces the transposed ``images`` on PyTorch's side.
        torch_labels: Replaces ``labels`` on PyTorch's side.
        keras_optimizer: An optimizer, a function that returns one, its name, or None.
        sample_weight: [count], or None.
        batch_size: Samples per step, at least 1; at most ``count`` are used.
        **rest: Further fields of ``ModelPair``.

    Returns:
        The pair, ready to run.

    Raises:
        UserError: An argument is wrong, or a model rejects the inputs.
    """
    if isinstance(torch_model, keras.Model) or (
        isinstance(keras_model, nn.Module) and not isinstance(keras_model, keras.Model)
    ):
        raise UserError("expected check(torch_model, keras_model, ...), got the two models swapped; exchange them")
    images = map_nest(_to_array, images)
    for_torch = map_nest(_channels_first, images) if torch_images is None else map_nest(_to_array, torch_images)
    labels = None if labels is None else map_nest(_to_array, labels)
    counts = {len(array) for nest in (images, for_torch, labels) for array in leaves(nest)}
    if len(counts) > 1 or 0 in counts:
        raise UserError(
            f"expected as many labels as images, at least 1, got {sorted(counts)} samples; axis 0 counts the samples"
        )
    if isinstance(keras_optimizer, str):
        keras_optimizer = keras.optimizers.get(keras_optimizer)
    elif keras_optimizer is not None and not isinstance(keras_optimizer, keras.Optimizer):
        keras_optimizer = keras_optimizer()
    if keras_optimizer is None and keras_model.compiled:
        keras_optimizer = keras_model.optimizer
    pair = ModelPair(
        torch_model,
        keras_model,
        images,
        for_torch,
        labels,
        torch_labels=labels if torch_labels is None else map_nest(_to_array, torch_labels),
        keras_optimizer=keras_optimizer,
        sample_weight=None if sample_weight is None else _to_array(sample_weight),
        batch_size=min(batch_size, counts.pop()),
        **rest,
    )
    if labels is not None:
        _set_default_optimizers(pair)
    inspect_outputs(pair)
    _drop_state_of_one_side(pair)
    return pair


def _drop_state_of_one_side(pair: ModelPair) -> None:
    """Replaces Keras's optimizer by a fresh one if it has taken steps, as after ``fit``, and PyTorch's has not."""
    optimizer = pair.keras_optimizer
    if pair.optimizer is None or optimizer is None or pair.brings_training:
        return
    taken = int(keras.ops.convert_to_numpy(optimizer.iterations.value)) if optimizer.built else 0
    if taken and not pair.optimizer.state:
        pair.keras_optimizer = copy_optimizer(optimizer, pair.keras_model, pair.keras_model)
        text = f"Keras's optimizer has taken {taken} steps, PyTorch's none; both start without state in this comparison"
        pair.optimizer_note = "; ".join(filter(None, [pair.optimizer_note, text]))


def _to_array(values: Any) -> NDArray:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    return array.astype(np.int64) if array.dtype.kind in "iub" else array


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
    made = type(optimizer).from_config(optimizer.get_config())
    excluded = getattr(optimizer, "_exclude_from_weight_decay", None)
    if excluded is not None:  # missing from the configuration
        sides = zip(model.trainable_variables, copy.trainable_variables, strict=True)
        made.exclude_from_weight_decay([new for old, new in sides if optimizer._var_key(old) in excluded])
        made._exclude_from_weight_decay_pattern = optimizer._exclude_from_weight_decay_pattern
    return made
