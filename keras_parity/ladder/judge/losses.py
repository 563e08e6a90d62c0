"""The loss that is meant where none is given: told by outputs and labels, and refused where that is not sure."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from cnn_mnist.errors import UserError
from keras_parity.ladder.judge.nests import Layout

SQUARES, BINARY, CROSS = "mean squared error", "binary cross-entropy", "cross-entropy"


def form_of(output: NDArray) -> str:
    """Whether the last axis holds ``"probabilities"``, their ``"logarithms"``, a ``"chance"``, or ``"logits"``."""
    if output.ndim < 2 or output.shape[-1] == 1:
        return "chance" if output.size and output.min() >= 0 and output.max() <= 1 else "logits"
    if output.min() >= 0 and np.allclose(output.sum(-1), 1, atol=1e-4):
        return "probabilities"
    if output.max() <= 0 and np.allclose(np.exp(output).sum(-1), 1, atol=1e-4):
        return "logarithms"
    return "logits"


def guess_kind(output: NDArray, labels: NDArray) -> str:
    """Which loss fits an output, with its classes on the last axis, and labels.

    Raises:
        UserError: More than one does, or none.
    """
    single, classes = output.ndim < 2 or output.shape[-1] == 1, output.shape[-1] if output.ndim else 1
    whole = labels.dtype.kind in "iub"
    zeros_and_ones = bool(((labels == 0) | (labels == 1)).all())
    if single and labels.size == output.size and zeros_and_ones and (whole or labels.dtype.kind == "f"):
        return BINARY
    if whole and labels.shape == output.shape[:-1] and not single and labels.min() >= 0 and labels.max() < classes:
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
        f"expected labels that tell the loss, got {labels.dtype} {list(labels.shape)} for an output "
        f"{list(output.shape)}; give torch_loss= and keras_loss="
    )


def torch_guess(kind: str, form: str, layout: Layout) -> Callable[[Any, Any], Any]:
    """The mean loss in PyTorch, of one output and its labels."""

    def loss(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        output = layout.turn(output)
        if kind != CROSS:
            labels = labels.reshape(output.shape).to(output.dtype)
        if kind == SQUARES:
            return F.mse_loss(output, labels)
        if kind == BINARY:
            return (F.binary_cross_entropy if form == "chance" else F.binary_cross_entropy_with_logits)(output, labels)
        logs = output.log() if form == "probabilities" else output if form == "logarithms" else output.log_softmax(-1)
        chosen = F.one_hot(labels, output.shape[-1]) if labels.ndim < output.ndim else labels
        return -(logs * chosen).sum(-1).mean()

    return loss


def torch_text(kind: str, form: str, layout: Layout, output: NDArray) -> str | None:
    """The same as Python writes it, of ``output`` and ``labels``; None where that takes more than a line."""
    if kind == CROSS and form == "logits" and (output.ndim == 2 or layout.axes == (1, -1)):
        return "nn.functional.cross_entropy(output, labels)"
    if layout.axes is not None or kind == CROSS:
        return None
    name = {SQUARES: "mse_loss", BINARY: f"binary_cross_entropy{'_with_logits' * (form != 'chance')}"}[kind]
    return f"nn.functional.{name}(output, labels.reshape(output.shape).to(output.dtype))"


def keras_guess(kind: str, form: str) -> Callable[[Any, Any], Any]:
    """The same in Keras, of labels and output, for each sample; probabilities are not clipped as keras.losses does."""
    ops = keras.ops

    def loss(labels: Any, output: Any) -> Any:
        if kind != CROSS:
            labels = ops.cast(ops.reshape(labels, ops.shape(output)), output.dtype)
        if kind == SQUARES:
            each = ops.square(output - labels)
        elif kind == BINARY and form == "chance":
            each = -(labels * ops.log(output) + (1 - labels) * ops.log1p(-output))
        elif kind == BINARY:
            each = ops.softplus(output) - labels * output
        else:
            logs = (
                ops.log(output)
                if form == "probabilities"
                else output
                if form == "logarithms"
                else ops.log_softmax(output)
            )
            given = len(labels.shape) < len(output.shape)
            chosen = ops.one_hot(ops.cast(labels, "int32"), output.shape[-1]) if given else labels
            return -ops.sum(logs * ops.cast(chosen, logs.dtype), axis=-1)
        return ops.mean(each, axis=-1) if len(each.shape) > 1 else each

    return loss
