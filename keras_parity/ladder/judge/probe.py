"""Runs both models once: checks that they accept the inputs, and derives layouts and losses from their outputs."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_mnist.errors import UserError
from keras_parity.ladder.judge.losses import guess_losses
from keras_parity.ladder.judge.model_pair import ModelPair, make_optimizer
from keras_parity.ladder.judge.nests import (
    call_torch,
    distance,
    find_layouts,
    leaves,
    slice_samples,
    to_arrays,
    to_keras_inputs,
    to_tensors,
)
from keras_parity.ladder.judge.snapshots import rnn_states, torch_snapshot, unmoved

PROBE_SAMPLES = 64
"""Samples per forward pass; the first so many show the form of the outputs."""

RANDOM = 1e-4
"""Relative difference of two equal runs above which no order of additions explains it."""


def inspect_outputs(pair: ModelPair) -> None:
    """Finds the layouts of the outputs and guesses the missing losses, from the models as they are now.

    Raises:
        UserError: A model rejects the inputs.
    """
    for name in pair.guessed:
        setattr(pair, name, None)
    source = [pair.torch_optimizer, *map(id, pair.torch_model.parameters())]
    used = pair.torch_optimizer is not None or not pair.brings_training
    if used and pair.missing_optimizer != "torch_optimizer" and source != pair.optimizer_source:
        pair.optimizer, pair.optimizer_source = make_optimizer(pair.torch_optimizer, pair.torch_model), source
    pair.guessed, pair.notes = (), []
    missing = pair.missing_optimizer
    pair.undecided = f"{missing} is missing; pass {missing}=" if missing else ""
    from_torch, from_keras, pair.keras_structure = probe(pair)
    pair.shapes = [array.shape for array in from_torch], [array.shape for array in from_keras]
    pair.layouts = find_layouts(from_torch, from_keras)
    if pair.labels is not None and not pair.undecided:
        guess_losses(pair, from_torch, from_keras)


def probe(pair: ModelPair) -> tuple[list[NDArray], list[NDArray], Any]:
    """Runs both models in inference mode on the first samples.

    Returns:
        PyTorch's outputs, Keras's outputs, and Keras's outputs in their own structure.

    Raises:
        UserError: A model rejects the inputs.
    """
    count = pair.fixed_batch or min(pair.count, PROBE_SAMPLES)
    output = run_torch(pair, count)
    inputs = slice_samples(pair.images, 0, count)
    try:
        with unmoved([*pair.keras_model.variables, *rnn_states(pair.keras_model)]):
            keras_output = pair.keras_model(to_keras_inputs(inputs), training=False)
    except Exception as error:  # raised by the user's own model
        advice = "images as Keras takes them, usually [count, height, width, channels]"
        raise UserError(_rejected("Keras", inputs, error, advice)) from None
    return to_arrays(output, keras_output), to_arrays(keras_output), keras_output


def run_torch(pair: ModelPair, count: int) -> Any:
    """Runs the module in inference mode on the first ``count`` samples; returns its output in its own structure.

    Raises:
        UserError: The module rejects the inputs.
    """
    inputs = slice_samples(pair.torch_images, 0, count)
    restore = torch_snapshot(pair.torch_model, None)
    first = next(pair.torch_model.parameters(), torch.empty(0))
    double = torch.float64 if first.dtype == torch.float64 else None  # the runner will run it in float32
    try:
        with torch.no_grad():
            pair.torch_model.eval()
            return call_torch(pair.torch_model, to_tensors(inputs, first.device, double))
    except Exception as error:  # raised by the user's own module
        advice = "torch_images="
        if isinstance(pair.images, np.ndarray) and pair.images.ndim == 4:
            given = f"{pair.images.dtype} {list(pair.images.shape)}"
            advice += f", or float images [count, height, width, channels], which are transposed for it; got {given}"
        raise UserError(_rejected("PyTorch", inputs, error, advice)) from None
    finally:
        restore()


def why_random(pair: ModelPair) -> str:
    """Says which model's outputs in inference mode are random, before its random layers are off; empty if neither's.

    A layer is random even there if the model calls it in training mode always.
    """
    variables = [*pair.keras_model.variables, *rnn_states(pair.keras_model)]
    inputs = to_keras_inputs(slice_samples(pair.images, 0, pair.batch_size))
    with unmoved(variables):
        runs = []
        for _ in range(2):
            with unmoved(rnn_states(pair.keras_model)):
                runs.append(to_arrays(pair.keras_model(inputs, training=False)))
    from_torch = [to_arrays(run_torch(pair, pair.batch_size)) for _ in range(2)]
    for framework, (first, again) in (("PyTorch", from_torch), ("Keras", runs)):
        if RANDOM < (error := distance(first, again)) < np.inf:  # infinite for NaN
            return not_repeatable(f"{framework}'s outputs are", "weights and inputs", error)
    return ""


def not_repeatable(what: str, same: str, error: float) -> str:
    """Says that two runs differ, and why that may be."""
    cause = "random numbers are drawn or state is kept that cannot be restored"
    return f"{what} not repeatable: from the same {same} the outputs differ by {error:.1e}, so {cause}"


def _rejected(framework: str, inputs: Any, error: Exception, advice: str) -> str:
    shapes = [array.shape[1:] for array in leaves(inputs)]
    reason = " ".join(str(error).split())[:200]
    return f"{framework}'s model cannot take inputs of {shapes}: {reason}; pass {advice}"
