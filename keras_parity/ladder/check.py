"""``check``: judges any two models as functions, then explains the differences."""

import logging
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import Any

import keras
import torch
from torch import nn

from cnn_mnist.console.progress import status
from cnn_mnist.errors import UserError
from keras_parity.ladder.diagnosis.trials import applied
from keras_parity.ladder.judge.build_pair import prepare
from keras_parity.ladder.judge.judge import Judge
from keras_parity.ladder.judge.model_pair import KerasOptimizerLike, ModelPair, ScheduleLike, TorchOptimizerLike
from keras_parity.ladder.report import Report

TENSORFLOW = "tensorflow"
"""The backend of Keras on which a difference is explained; the verdict needs none."""


def check(
    torch_model: nn.Module,
    keras_model: keras.Model,
    images: Any,
    labels: Any = None,
    *,
    torch_optimizer: TorchOptimizerLike = None,
    keras_optimizer: KerasOptimizerLike = None,
    torch_schedule: ScheduleLike = None,
    torch_loss: Callable[[Any, Any], Any] | None = None,
    keras_loss: Any = None,
    torch_step: Callable[[Any, Any], Any] | None = None,
    class_weight: Mapping[int, float] | None = None,
    sample_weight: Any = None,
    weights: str = "given",
    torch_images: Any = None,
    torch_labels: Any = None,
    match: Mapping[str, str] | None = None,
    batch_size: int = 32,
    steps: int | None = None,
    judged: Callable[[Report], None] | None = None,
) -> Report:
    """Checks whether two models compute the same function and train the same, and looks for fixes if they do not.

    Both models run in place, in their own frameworks: Keras's through ``train_on_batch``, PyTorch's through its own
    optimizer and schedule. Weights, statistics, optimizer state and modes are restored bit for bit afterwards.

    1. *Same function?* Compares all outputs in inference mode, up to the order of their axes.
    2. *Same training?* Trains both on the same batches and compares the outputs after 1, 5, 20 and ``steps`` steps.
    3. *If not, why?* Lists the causes in ``report.findings`` and the lines that fix them in ``report.to_paste``. Every
       line was run and improved the verdict.

    Limits are measured: each side runs again with its weights, inputs and optimizer constants moved by one ulp. If both
    sides have a faithful float64 copy, float64 decides, unless the trainings already agree in float32.

    Args:
        torch_model: Any module. A LightningModule trains with its ``training_step`` and ``configure_optimizers``.
        keras_model: Any Keras model that is built, or that can be called with ``images``. A compiled model brings its
            loss, loss weights and optimizer.
        images: Inputs [count, ...] as Keras takes them: an array or tensor, or a list or dict of several. Float images
            [count, height, width, channels] are transposed for PyTorch; other inputs are passed on unchanged.
        labels: [count, ...], or a list or dict of several; None compares the functions only.
        torch_optimizer: An optimizer of ``torch_model``'s parameters, or a function that makes one from their list.
        keras_optimizer: An optimizer, a function that makes one, or a name. If neither side has an optimizer, both
            train with SGD(0.01).
        torch_schedule: A PyTorch schedule, or a function of the optimizer that makes one; stepped after every step.
            Keras's schedule is part of its optimizer.
        torch_loss: Mean loss (output, labels) -> []. A missing loss is guessed, with a note in the report.
        keras_loss: A loss for ``compile``, or a function (labels, output) -> mean loss [].
        torch_step: One whole step (inputs, labels) -> loss before it, for training loops that clip gradients or step in
            another way. Pass its optimizer as ``torch_optimizer`` too.
        class_weight: Weight by class, as in Keras's ``fit``.
        sample_weight: Weights [count], as in Keras's ``fit``.
        weights: ``"given"`` compares the weights as they are; ``"keras"`` or ``"torch"`` first copies that side's.
        torch_images: Inputs as PyTorch takes them, if they are not the transposed ``images``.
        torch_labels: Labels as PyTorch's loss takes them, if they are not ``labels``.
        match: Keras's layer name by PyTorch's, for layers that are not matched automatically.
        batch_size: Samples per step, at least 1.
        steps: Training steps, at least 1; None for 50, or as many as fit into about 45 seconds.
        judged: Called with the report as soon as the verdict is known, before the explanation.

    Returns:
        The report: ``verdict``, ``same_function``, ``same_training``, ``findings``, ``to_paste``, ``match``, ``notes``.

    Raises:
        UserError: An argument is wrong, or a model rejects the inputs.

    Example:
        >>> report = check(torch_model, keras_model, images, labels)  # doctest: +SKIP
        >>> report.raise_if_broken(training=False)  # doctest: +SKIP
    """
    if weights not in ("given", "keras", "torch"):
        raise UserError(f'expected weights="given", "keras" or "torch", got {weights!r}')
    for name, number in ("batch_size", batch_size), ("steps", steps):
        if number is not None and number < 1:
            raise UserError(f"expected {name} of at least 1, got {number}")
    if explained := keras.config.backend() == TENSORFLOW:
        from keras_parity.ladder.diagnosis.explain import explain, find_match
    elif weights != "given" or match:
        raise UserError(
            f'expected equal weights (weights="given", no match), because Keras runs on {keras.config.backend()}; '
            "copy them where it runs on TensorFlow (KERAS_BACKEND=tensorflow)"
        )
    with quiet(), status("check: running both models") as update:
        pair = prepare(ModelPair(
            torch_model, keras_model, images, labels, torch_images, torch_labels, torch_optimizer, keras_optimizer,
            torch_loss, keras_loss, torch_schedule, torch_step, class_weight, sample_weight, batch_size,
        ))  # fmt: skip
        report = Report(notes=[versions()])
        if explained:
            report.find_match = partial(find_match, pair, match or {})
        copy = {
            "keras": "report.match.copy_to_torch(keras_model, torch_model)",
            "torch": "report.match.copy_to_keras(torch_model, keras_model)",
        }.get(weights)
        with applied(pair, [copy], report) if copy else nullcontext():
            judge = Judge(pair, steps)
            report.judged = judge.verdict()
            if copy:
                _ask_for_matches(report)
            report.notes += report.judged.notes
            if judged is not None:
                judged(report)
            if not report.holds and explained:
                update(description="check: looking for the cause")
                explain(judge, report, match or {})
            elif not report.holds:
                report.notes.append(
                    "a difference is explained only where Keras runs on TensorFlow: set KERAS_BACKEND=tensorflow"
                )
    return report


def versions() -> str:
    """Names the versions of the libraries that compute."""
    backend = keras.config.backend()
    name = {TENSORFLOW: "TensorFlow", "jax": "JAX", "torch": "PyTorch"}.get(backend, backend)
    return f"PyTorch {torch.__version__}, Keras {keras.__version__} on {name} {version(backend)}"


def _ask_for_matches(report: Report) -> None:
    """Notes the weights that were not copied; different outputs then decide nothing."""
    match = report.match
    if match is None or report.judged is None or not (match.only_torch or match.only_keras):
        return
    sides = ("PyTorch", match.only_torch), ("Keras", match.only_keras)
    unmatched = " and ".join(f"{', '.join(names[:4])} ({side})" for side, names in sides if names)
    text = f"not copied, because no layer matches: {unmatched}; pass match={{'torch name': 'keras name'}}"
    report.judged.notes.append(text)
    if report.judged.same_function is False:
        report.judged.comparisons[0] = replace(report.judged.comparisons[0], same=None)
        report.judged.reason = text


@contextmanager
def quiet() -> Iterator[None]:
    """Silences TensorFlow's warnings about retracing; restores Python's random state, which seeds Keras."""
    logger, state = logging.getLogger("tensorflow"), random.getstate()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)
        random.setstate(state)
