"""Guesses a missing loss from the outputs and labels, and refuses if more than one fits."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from torch import nn

from cnn_mnist.errors import UserError
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import Layout, leaves

SQUARES, BINARY, CROSS = "mean squared error", "binary cross-entropy", "cross-entropy"


def guess_losses(pair: ModelPair, from_torch: list[NDArray], from_keras: list[NDArray]) -> None:
    """Sets the losses that the user did not give and notes the guess; else sets ``pair.undecided``.

    Args:
        pair: Gets the losses.
        from_torch: PyTorch's outputs of some samples.
        from_keras: Keras's outputs of the same samples.
    """
    needs_torch = pair.torch_loss is None and not pair.brings_training
    needs_keras = pair.keras_loss is None and not (pair.keras_model.compiled and pair.keras_model.loss is not None)
    if not (needs_torch or needs_keras):
        return
    targets = list(leaves(pair.labels))
    try:
        if not len(targets) == len(from_torch) == len(from_keras):
            raise UserError(
                f"{len(targets)} label arrays for {len(from_torch)} outputs; pass torch_loss= and keras_loss="
            )
        kinds = [guess_kind(output, labels[: len(output)]) for output, labels in zip(from_keras, targets, strict=True)]
    except UserError as error:
        pair.undecided = str(error)
        return
    torch_forms = [form_of(layout.apply(array)) for layout, array in zip(pair.layouts, from_torch, strict=True)]
    keras_forms = [form_of(array) for array in from_keras]
    if needs_torch:
        labels = leaves(pair.torch_labels)
        found = zip(kinds, torch_forms, pair.layouts, from_torch, labels, strict=False)  # what is missing fails a step
        texts = [torch_text(*each) for each in found]
        each = [eval(f"lambda output, labels: {text}", {"nn": nn}) for text in texts]
        pair.loss_text = texts[0] if len(texts) == 1 else None
        pair.torch_loss = lambda outputs, labels: sum(
            loss(o, y) for loss, o, y in zip(each, leaves(outputs), leaves(labels), strict=True)
        )
    if needs_keras:
        guesses = [keras_guess(*found) for found in zip(kinds, keras_forms, strict=True)]
        weighted = pair.class_weight is not None or pair.sample_weight is not None
        pair.keras_loss = (
            guesses[0]
            if weighted
            else lambda labels, outputs: sum(
                keras.ops.mean(loss(y, o)) for loss, o, y in zip(guesses, leaves(outputs), leaves(labels), strict=True)
            )
        )
    pair.guessed = ("torch_loss",) * needs_torch + ("keras_loss",) * needs_keras
    sides = " and ".join(["PyTorch's"] * needs_torch + ["Keras's"] * needs_keras)
    described = [
        kind if kind == SQUARES else f"{kind} from {form}" for kind, form in zip(kinds, keras_forms, strict=True)
    ]
    pair.notes.append(f"{sides} loss was guessed from the outputs and labels: {', '.join(described)}")


def form_of(output: NDArray) -> str:
    """Names the form of an output's last axis.

    Returns:
        ``"probabilities"``, ``"log-probabilities"``, ``"probability"`` of one class, or ``"logits"``.
    """
    if output.ndim < 2 or output.shape[-1] == 1:
        return "probability" if output.size and output.min() >= 0 and output.max() <= 1 else "logits"
    if output.min() >= 0 and np.allclose(output.sum(-1), 1, atol=1e-4):
        return "probabilities"
    if output.max() <= 0 and np.allclose(np.exp(output).sum(-1), 1, atol=1e-4):
        return "log-probabilities"
    return "logits"


def guess_kind(output: NDArray, labels: NDArray) -> str:
    """Returns the loss that fits an output, classes on its last axis, and its labels.

    Raises:
        UserError: No loss fits, or several do.
    """
    single, classes = output.ndim < 2 or output.shape[-1] == 1, output.shape[-1] if output.ndim else 1
    whole = labels.dtype.kind in "iub"
    zeros_and_ones = bool(((labels == 0) | (labels == 1)).all())
    if single and labels.size == output.size and zeros_and_ones and (whole or labels.dtype.kind == "f"):
        return BINARY
    shapes = output.shape[:-1], (*output.shape[:-1], 1)  # the latter in Keras's data sets
    if whole and labels.shape in shapes and not single and labels.min() >= 0 and labels.max() < classes:
        return CROSS
    if labels.shape == output.shape and not single and zeros_and_ones and (labels.sum(-1) == 1).all():
        return CROSS
    if (
        not whole
        and labels.size == output.size
        and [n for n in labels.shape if n > 1] == [n for n in output.shape if n > 1]
    ):
        return SQUARES
    raise UserError(
        f"expected labels that fit one loss, got {labels.dtype} {list(labels.shape)} for an output "
        f"{list(output.shape)}; pass torch_loss= and keras_loss="
    )


def torch_text(kind: str, form: str, layout: Layout, output: NDArray, labels: NDArray) -> str:
    """Writes PyTorch's mean loss of ``output`` and ``labels`` in Python.

    Args:
        kind: See ``guess_kind``.
        form: See ``form_of``.
        layout: The layout of the output.
        output: Some of PyTorch's outputs.
        labels: Labels.
    """
    column = labels.ndim == output.ndim and labels.shape[-1] == 1 < layout.apply(output).shape[-1]
    one_hot = labels.ndim == output.ndim and not column
    plain = form == "logits" and not one_hot and labels.min() >= 0  # negative labels are not ignored
    classes = "labels.squeeze(-1)" if column else "labels"
    if kind == CROSS and plain and (output.ndim == 2 or layout.axes == (1, -1)):
        return f"nn.functional.cross_entropy(output, {classes})"
    moved = "output" if layout.axes is None else f"output.movedim{layout.axes}"
    if kind == CROSS:
        logs = {"probabilities": f"{moved}.log()", "log-probabilities": moved}.get(form, f"{moved}.log_softmax(-1)")
        chosen = "labels" if one_hot else f"nn.functional.one_hot({classes}, {layout.apply(output).shape[-1]})"
        return f"-({logs} * {chosen}).sum(-1).mean()"
    name = {SQUARES: "mse_loss", BINARY: f"binary_cross_entropy{'_with_logits' * (form == 'logits')}"}[kind]
    return f"nn.functional.{name}({moved}, labels.reshape({moved}.shape).to(output.dtype))"


def keras_guess(kind: str, form: str) -> Callable[[Any, Any], Any]:
    """Builds Keras's loss (labels, output) -> [samples]; unlike keras.losses it does not clip probabilities."""
    ops = keras.ops

    def loss(labels: Any, output: Any) -> Any:
        if kind == CROSS:
            logs = {"probabilities": ops.log, "log-probabilities": lambda x: x}.get(form, ops.log_softmax)(output)
            if len(labels.shape) == len(output.shape) and labels.shape[-1] == 1:
                labels = ops.squeeze(labels, -1)
            sparse = len(labels.shape) < len(output.shape)
            one_hot = ops.one_hot(ops.cast(labels, "int32"), output.shape[-1]) if sparse else labels
            return -ops.sum(logs * ops.cast(one_hot, logs.dtype), axis=-1)
        labels = ops.cast(ops.reshape(labels, ops.shape(output)), output.dtype)
        if kind == SQUARES:
            each = ops.square(output - labels)
        elif form == "logits":
            each = ops.softplus(output) - labels * output
        else:
            each = -(labels * ops.log(output) + (1 - labels) * ops.log1p(-output))
        return ops.mean(each, axis=-1) if len(each.shape) > 1 else each

    return loss
