"""Fills in the losses that a pair is not given."""

from typing import TYPE_CHECKING

import keras
from numpy.typing import NDArray

from cnn_mnist.errors import UserError
from keras_parity.ladder.judge import losses
from keras_parity.ladder.judge.nests import leaves

if TYPE_CHECKING:
    from keras_parity.ladder.judge.model_pair import ModelPair


def guess_losses(pair: "ModelPair", ours: list[NDArray], theirs: list[NDArray]) -> None:
    """The losses that are not given: guessed where outputs and labels tell them, and said; else left open."""
    needs_ours = pair.torch_loss is None and not pair.brings_training
    needs_theirs = pair.keras_loss is None and not (pair.keras_model.compiled and pair.keras_model.loss is not None)
    if not (needs_ours or needs_theirs):
        return
    targets = list(leaves(pair.labels))
    turned = [layout.turn(array) for layout, array in zip(pair.layouts, ours, strict=False)]
    try:
        if not len(targets) == len(ours) == len(theirs):
            raise UserError(f"{len(targets)} labels for {len(ours)} outputs; give torch_loss= and keras_loss=")
        kinds = [
            losses.guess_kind(output, labels[: len(output)]) for output, labels in zip(theirs, targets, strict=True)
        ]
    except UserError as error:
        pair.undecided = str(error)
        return
    forms = [losses.form_of(output) for output in turned], [losses.form_of(output) for output in theirs]
    if needs_ours:
        each = [losses.torch_guess(*found) for found in zip(kinds, forms[0], pair.layouts, strict=True)]
        pair.loss_text = losses.torch_text(kinds[0], forms[0][0], pair.layouts[0], ours[0]) if len(each) == 1 else None
        pair.torch_loss = lambda outputs, labels: sum(
            loss(o, y) for loss, o, y in zip(each, leaves(outputs), leaves(labels), strict=True)
        )
    if needs_theirs:
        guesses = [losses.keras_guess(*found) for found in zip(kinds, forms[1], strict=True)]
        weighted = pair.class_weight is not None or pair.sample_weight is not None
        pair.keras_loss = (
            guesses[0]
            if weighted
            else lambda labels, outputs: sum(
                keras.ops.mean(loss(y, o)) for loss, o, y in zip(guesses, leaves(outputs), leaves(labels), strict=True)
            )
        )
    pair.guessed = ("torch_loss",) * needs_ours + ("keras_loss",) * needs_theirs
    sides = " and ".join(["PyTorch"] * needs_ours + ["Keras"] * needs_theirs)
    described = ", ".join(
        f"{kind} from {forms[1][i]}" if kind != losses.SQUARES else kind for i, kind in enumerate(kinds)
    )
    pair.notes.append(f"the loss of {sides} was guessed from the outputs and labels: {described}")
