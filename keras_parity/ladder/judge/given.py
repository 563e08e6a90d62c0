"""What ``check`` is given, put into one form."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cnn_mnist.errors import UserError
from keras_parity.ladder.judge.model_pair import GivenKerasOptimizer, GivenSchedule, GivenTorchOptimizer, ModelPair
from keras_parity.ladder.judge.nests import leaves, map_nest, with_c_strides


def build_model_pair(
    torch_model: nn.Module,
    keras_model: keras.Model,
    images: Any,
    labels: Any = None,
    *,
    torch_images: Any = None,
    torch_labels: Any = None,
    torch_optimizer: GivenTorchOptimizer = None,
    keras_optimizer: GivenKerasOptimizer = None,
    torch_loss: Any = None,
    keras_loss: Any = None,
    torch_schedule: GivenSchedule = None,
    torch_step: Callable[[Any, Any], Any] | None = None,
    class_weight: Mapping[int, float] | None = None,
    sample_weight: Any = None,
    batch_size: int = 32,
) -> ModelPair:
    """Puts what ``check`` is given into one form; arguments as there.

    Raises:
        UserError: An argument is off, or a model cannot take the inputs.
    """
    if isinstance(torch_model, keras.Model) or (
        isinstance(keras_model, nn.Module) and not isinstance(keras_model, keras.Model)
    ):
        raise UserError("expected check(torch_model, keras_model, ...), got them the other way round; exchange the two")
    images = map_nest(_array, images)
    turned = map_nest(_array, torch_images) if torch_images is not None else map_nest(_channels_first, images)
    labels = None if labels is None else map_nest(_array, labels)
    counts = {len(array) for nest in (images, turned, labels) for array in leaves(nest)}
    if len(counts) > 1 or 0 in counts:
        raise UserError(
            f"expected as many labels as images, and at least one, got {sorted(counts)}; put them on axis 0"
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
        turned,
        labels,
        labels if torch_labels is None else map_nest(_array, torch_labels),
        torch_optimizer,
        keras_optimizer,
        torch_loss,
        keras_loss,
        torch_schedule,
        torch_step,
        class_weight,
        None if sample_weight is None else _array(sample_weight),
        min(batch_size, counts.pop()),
    )
    if labels is not None:
        _default_optimizers(pair)
    pair.look_again()
    _begin_afresh(pair)
    return pair


def _begin_afresh(pair: ModelPair) -> None:
    """Where Keras's optimizer has taken steps and PyTorch's none, as of a model that was trained, both begin anew."""
    ours, theirs = pair.optimizer, pair.keras_optimizer
    if ours is None or theirs is None or pair.brings_training:
        return
    taken = int(keras.ops.convert_to_numpy(theirs.iterations.value)) if theirs.built else 0
    if taken and not ours.state:
        pair.keras_optimizer = copy_optimizer(theirs, pair.keras_model, pair.keras_model)
        text = f"Keras's optimizer has taken {taken} steps and PyTorch's none: Keras's begins anew for the comparison"
        pair.optimizers = "; ".join(filter(None, [pair.optimizers, text]))


def _array(values: Any) -> NDArray:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    return array.astype(np.int64) if array.dtype.kind in "iub" else array


def _channels_first(array: NDArray) -> NDArray:
    return with_c_strides(np.moveaxis(array, -1, 1)) if array.ndim == 4 and array.dtype.kind == "f" else array


def _default_optimizers(pair: ModelPair) -> None:
    """Where neither side brings an optimizer both get the plainest; where one does, the other is missing."""
    ours, theirs = pair.torch_optimizer is not None or pair.brings_training, pair.keras_optimizer is not None
    if not ours and not theirs:
        pair.keras_optimizer = keras.optimizers.SGD(0.01)
        pair.optimizers = "no optimizer was given: both train by SGD with a learning rate of 0.01"
    elif not (ours and theirs):
        pair.missing = "keras_optimizer" if ours else "torch_optimizer"


def copy_optimizer(optimizer: keras.Optimizer, model: keras.Model, copy: keras.Model) -> keras.Optimizer:
    """An optimizer with the same settings and no state, for a copy of the model, or for the model itself."""
    made = type(optimizer).from_config(optimizer.get_config())
    excluded = getattr(optimizer, "_exclude_from_weight_decay", None)
    if excluded is not None:  # which the configuration does not tell
        sides = zip(model.trainable_variables, copy.trainable_variables, strict=True)
        made.exclude_from_weight_decay([new for old, new in sides if optimizer._var_key(old) in excluded])
        made._exclude_from_weight_decay_pattern = optimizer._exclude_from_weight_decay_pattern
    return made
