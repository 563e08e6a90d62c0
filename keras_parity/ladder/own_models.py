"""The port of anybody's two models: batches, losses and optimizers of what ``check`` is given."""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from cnn_mnist.errors import UserError
from keras_parity.ladder.port import Port, as_tuple

GivenTorchOptimizer: TypeAlias = torch.optim.Optimizer | Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None
GivenSchedule: TypeAlias = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler] | None
GivenKerasOptimizer: TypeAlias = keras.Optimizer | Callable[[], keras.Optimizer] | str | None


def make_port(
    torch_model: nn.Module,
    keras_model: keras.Model,
    images: Any,
    labels: Any,
    torch_optimizer: GivenTorchOptimizer,
    keras_optimizer: GivenKerasOptimizer,
    torch_loss: Callable[[Any, Any], Any] | None,
    keras_loss: Callable[[Any, Any], Any] | None,
    torch_images: Any,
    match: Mapping[str, str] | None,
    batch_size: int,
    device: str = "cpu",
    torch_schedule: GivenSchedule = None,
) -> Port:
    """The port that ``check`` climbs; arguments as there."""
    inputs = tuple(map(_array, images)) if isinstance(images, (tuple, list)) else (_array(images),)
    targets = _array(labels)
    turned = tuple(map(_array, as_tuple(torch_images))) if torch_images is not None else tuple(map(_turned, inputs))
    counts = {len(array) for array in (*inputs, *turned, targets)}
    if len(counts) > 1 or 0 in counts:
        raise UserError(f"expected as many labels as images, and at least one, got {sorted(counts)}")
    outputs = _outputs(torch_model, keras_model, turned, inputs)
    forms = tuple(_form(output, targets) for output in outputs)
    scores = [_probabilities[form] if len(set(forms)) > 1 else (lambda output: output) for form in forms]
    size = min(batch_size, len(targets))
    cuts = range(0, len(targets) - size + 1, size)
    ours, theirs = (
        [(_one(tuple(array[cut : cut + size] for array in side)), targets[cut : cut + size]) for cut in cuts]
        for side in (turned, inputs)
    )
    return Port(
        network=torch_model,
        model=keras_model,
        torch_batches=ours,
        keras_batches=theirs,
        test=(_one(inputs), targets),
        torch_test=_one(turned),
        torch_optimizer=_torch_optimizer(torch_model, torch_optimizer),
        keras_optimizer=_keras_optimizer(keras_optimizer),
        torch_loss=torch_loss or _torch_losses[forms[0]],
        keras_loss=keras_loss or _keras_losses[forms[1]],
        match=match or {},
        torch_scores=scores[0],
        keras_scores=scores[1],
        device=device,
        torch_schedule=torch_schedule,
    )


def _array(values: Any) -> NDArray:
    array = values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    return array.astype(np.int64) if array.dtype.kind in "iub" else array


def _turned(array: NDArray) -> NDArray:
    return np.ascontiguousarray(np.moveaxis(array, -1, 1)) if array.ndim == 4 and array.dtype.kind == "f" else array


def _one(arrays: tuple[NDArray, ...]) -> Any:
    return arrays[0] if len(arrays) == 1 else arrays


def _outputs(torch_model: nn.Module, keras_model: keras.Model, ours: Any, theirs: Any) -> tuple[NDArray, NDArray]:
    """Both models' outputs of the first images, in inference."""
    try:
        with torch.no_grad():
            network = copy.deepcopy(torch_model).cpu().float().eval()
            output = network(*(torch.from_numpy(np.ascontiguousarray(array[:8])) for array in ours))
    except Exception as error:  # of the user's own module
        shapes = [array.shape[1:] for array in ours]
        raise UserError(f"PyTorch's model cannot take inputs of {shapes}: {error}".splitlines()[0]) from None
    try:
        given = [tf.constant(array[:8]) for array in theirs]
        keras_output = keras_model(given if len(given) > 1 else given[0], training=False)
    except Exception as error:  # of the user's own model
        shapes = [array.shape[1:] for array in theirs]
        raise UserError(f"Keras's model cannot take inputs of {shapes}: {error}".splitlines()[0]) from None
    first = keras.tree.flatten(output)[0], keras.tree.flatten(keras_output)[0]
    return first[0].numpy(), keras.ops.convert_to_numpy(first[1])


def _form(output: NDArray, labels: NDArray) -> str:
    """What an output is: of one unit, or of floats, by the labels; else by whether it sums to 1."""
    if labels.dtype.kind == "f" and labels.shape[1:] == output.shape[1:] and not _one_hot(labels):
        return "values"
    if output.ndim == 1 or output.shape[-1] == 1:
        return "odds" if output.min() < 0 or output.max() > 1 else "chance"
    if output.min() >= 0 and np.allclose(output.sum(-1), 1, atol=1e-4):
        return "probabilities"
    if output.max() <= 0 and np.allclose(np.exp(output).sum(-1), 1, atol=1e-4):
        return "logarithms"
    return "logits"


def _one_hot(labels: NDArray) -> bool:
    return labels.ndim > 1 and bool(((labels == 0) | (labels == 1)).all() and (labels.sum(-1) == 1).all())


def _softmax(logits: NDArray) -> NDArray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


_probabilities: dict[str, Callable[[NDArray], NDArray]] = {
    "logits": _softmax,
    "logarithms": np.exp,
    "odds": lambda odds: 1 / (1 + np.exp(-odds)),
    **dict.fromkeys(("probabilities", "chance", "values"), lambda output: output),
}


def _picked(logarithms: Any, labels: Any) -> Any:
    """Mean cross-entropy in PyTorch, from the logarithms of the probabilities."""
    return -(logarithms * labels).sum(-1).mean() if labels.ndim == logarithms.ndim else F.nll_loss(logarithms, labels)


_torch_losses: dict[str, Callable[[Any, Any], Any]] = {
    "logits": lambda output, labels: _picked(output.log_softmax(-1), labels),
    "logarithms": _picked,
    "probabilities": lambda output, labels: _picked(output.log(), labels),
    "odds": lambda o, labels: F.binary_cross_entropy_with_logits(o, labels.reshape(o.shape).to(o.dtype)),
    "chance": lambda o, labels: F.binary_cross_entropy(o, labels.reshape(o.shape).to(o.dtype)),
    "values": F.mse_loss,
}


def _keras_picked(labels: Any, logarithms: Any) -> Any:
    """Mean cross-entropy in Keras, from the logarithms of the probabilities."""
    ops, classes = keras.ops, logarithms.shape[-1]
    chosen = labels if len(labels.shape) == len(logarithms.shape) else ops.one_hot(labels, classes)
    return -ops.mean(ops.sum(logarithms * ops.cast(chosen, logarithms.dtype), axis=-1))


def _binary(labels: Any, odds: Any) -> Any:
    # keras.losses clips probabilities to 1e-7, which PyTorch does not
    targets = keras.ops.cast(keras.ops.reshape(labels, odds.shape), odds.dtype)
    return keras.ops.mean(keras.ops.softplus(odds) - targets * odds)


_keras_losses: dict[str, Callable[[Any, Any], Any]] = {
    "logits": lambda labels, output: _keras_picked(labels, keras.ops.log_softmax(output)),
    "logarithms": _keras_picked,
    "probabilities": lambda labels, output: _keras_picked(labels, keras.ops.log(output)),
    "odds": _binary,
    "chance": lambda labels, o: _binary(labels, keras.ops.log(o) - keras.ops.log1p(-o)),
    "values": lambda labels, o: keras.ops.mean(keras.ops.square(o - keras.ops.cast(labels, o.dtype))),
}


def _torch_optimizer(
    model: nn.Module, given: GivenTorchOptimizer
) -> Callable[[list[nn.Parameter]], torch.optim.Optimizer]:
    """What makes the user's optimizer anew, of the parameters of a copy of the model."""
    if given is None:
        return lambda params: torch.optim.SGD(params, lr=0.01)
    if not isinstance(given, torch.optim.Optimizer):
        return given
    originals = [p for p in model.parameters() if p.requires_grad]
    known = inspect.signature(type(given).__init__).parameters

    def make(params: list[nn.Parameter]) -> torch.optim.Optimizer:
        # Of an attention three are views of one.
        copies = [(id(getattr(old, "of", old)), new) for old, new in zip(originals, params, strict=True)]
        groups = [
            {name: value for name, value in group.items() if name in known}
            | {"params": [new for p in group["params"] for old, new in copies if old == id(p)]}
            for group in given.param_groups
        ]
        optimizer = type(given)(groups)  # type: ignore[call-arg]
        if isinstance(optimizer, torch.optim.Adam):
            for group in optimizer.param_groups:  # TensorFlow casts them through float32
                group["betas"] = tuple(map(_through_float32, group["betas"]))
        return optimizer

    return make


def _keras_optimizer(given: GivenKerasOptimizer) -> Callable[[], keras.Optimizer]:
    if given is None:
        return lambda: keras.optimizers.SGD(0.01)
    if isinstance(given, str):
        return lambda: keras.optimizers.get(given)
    if not isinstance(given, keras.Optimizer):
        return given
    config = given.get_config()
    rounded = {name: _through_float32(config[name]) for name in ("beta_1", "beta_2") if name in config}
    return lambda: type(given).from_config(config | rounded)


def _through_float32(value: Any) -> Any:
    return float(np.float32(value)) if isinstance(value, float) else value
