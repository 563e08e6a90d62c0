"""Fills in the losses that a pair is not given."""

from collections.abc import Sequence
from typing import Any

import keras
from numpy.typing import NDArray

from cnn_mnist.errors import UserError
from keras_parity.ladder.judge import losses
from keras_parity.ladder.judge.nests import Layout, leaves


def guess_losses(
    ours: list[NDArray],
    theirs: list[NDArray],
    labels: Any,
    layouts: Sequence[Layout],
    needs: tuple[bool, bool],
    weighted: bool,
) -> dict[str, Any]:
    """The losses that are not given, guessed from outputs and labels; ``undecided`` says why they cannot be.

    Args:
        ours: PyTorch's outputs.
        theirs: Keras's.
        labels: As Keras takes them.
        layouts: Of each output, how PyTorch's axes become Keras's.
        needs: Whether PyTorch's side needs a loss, and Keras's.
        weighted: Whether Keras is given weights, of samples or classes.

    Returns:
        Attributes of a ``ModelPair`` by name; none where no loss is needed.
    """
    needs_ours, needs_theirs = needs
    if not any(needs):
        return {}
    targets = list(leaves(labels))
    turned = [layout.turn(array) for layout, array in zip(layouts, ours, strict=False)]
    try:
        if not len(targets) == len(ours) == len(theirs):
            raise UserError(f"{len(targets)} labels for {len(ours)} outputs; give torch_loss= and keras_loss=")
        kinds = [
            losses.guess_kind(output, labels[: len(output)]) for output, labels in zip(theirs, targets, strict=True)
        ]
    except UserError as error:
        return {"undecided": str(error)}
    result: dict[str, Any] = {}
    forms = [losses.form_of(output) for output in turned], [losses.form_of(output) for output in theirs]
    if needs_ours:
        each = [losses.torch_guess(*found) for found in zip(kinds, forms[0], layouts, strict=True)]
        text = losses.torch_text(kinds[0], forms[0][0], layouts[0], ours[0]) if len(each) == 1 else None
        result["loss_text"] = text
        result["torch_loss"] = lambda outputs, labels: sum(
            loss(o, y) for loss, o, y in zip(each, leaves(outputs), leaves(labels), strict=True)
        )
    if needs_theirs:
        guesses = [losses.keras_guess(*found) for found in zip(kinds, forms[1], strict=True)]
        result["keras_loss"] = (
            guesses[0]
            if weighted
            else lambda labels, outputs: sum(
                keras.ops.mean(loss(y, o)) for loss, o, y in zip(guesses, leaves(outputs), leaves(labels), strict=True)
            )
        )
    result["guessed"] = ("torch_loss",) * needs_ours + ("keras_loss",) * needs_theirs
    sides = " and ".join(["PyTorch"] * needs_ours + ["Keras"] * needs_theirs)
    described = ", ".join(
        f"{kind} from {forms[1][i]}" if kind != losses.SQUARES else kind for i, kind in enumerate(kinds)
    )
    return result | {"notes": [f"the loss of {sides} was guessed from the outputs and labels: {described}"]}
