"""``check``: anybody's two models, judged as functions, then explained."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import tensorflow as tf
import torch
from torch import nn

from cnn_mnist.errors import UserError, UserNotice
from keras_parity.ladder.diagnosis.explain import explain, find_match
from keras_parity.ladder.diagnosis.trials import applied
from keras_parity.ladder.judge.given import build_model_pair
from keras_parity.ladder.judge.judge import Judge
from keras_parity.ladder.judge.model_pair import GivenKerasOptimizer, GivenSchedule, GivenTorchOptimizer, ModelPair
from keras_parity.ladder.report import Report


def check(
    torch_model: nn.Module,
    keras_model: keras.Model,
    images: Any,
    labels: Any = None,
    *,
    torch_optimizer: GivenTorchOptimizer = None,
    keras_optimizer: GivenKerasOptimizer = None,
    torch_schedule: GivenSchedule = None,
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
    numbers: Any = None,
) -> Report:
    """Finds out whether two models are the same function, whether they train the same, and what mends what differs.

    Both models run in place, as their own frameworks run them: Keras's through ``train_on_batch``, PyTorch's through
    its own optimizer and schedule. Weights, statistics, optimizer state and modes are put back afterwards, to the bit.

    1. *The same function?* The outputs in inference mode, of whatever structure, up to the order of their axes.
    2. *The same training?* The outputs again after 1, 5, 20 and ``steps`` steps of each side's own training.
    3. *Where not, and what to paste?* ``report.findings``, whose lines were run and made the verdict better.

    Limits come from each framework's own rounding: each side is run again with its numbers one ulp away. Float64 is a
    second witness where both sides can be copied faithfully.

    Args:
        torch_model: Any module; of a LightningModule, ``training_step`` and ``configure_optimizers`` are the training.
        keras_model: Any Keras model that is built, or that can be called with ``images``. A compiled one brings its
            loss, loss weights and optimizer.
        images: Inputs [count, ...] as Keras takes them: an array, or a list or dict of several. Images of floats
            [count, height, width, channels] are turned for PyTorch; all else passes as it is.
        labels: [count, ...], or a list or dict of several; None to compare the functions alone.
        torch_optimizer: One over ``torch_model``'s parameters, or what makes one of a list of them.
        keras_optimizer: One, what makes one, or its name. Where neither side has one, both train by SGD(0.01).
        torch_schedule: PyTorch's schedule, or what makes it of the optimizer; stepped behind each step. Keras's is in
            its optimizer.
        torch_loss: Mean loss of output and labels. A loss that is not given is guessed, and the report says so.
        keras_loss: What ``compile`` takes, or a function of labels and output that gives their mean loss.
        torch_step: One whole step of (inputs, labels) for loops that clip or step otherwise; gives the loss before it.
            Give its optimizer as ``torch_optimizer``, too.
        class_weight: As Keras's ``fit`` takes it.
        sample_weight: [count], as Keras's ``fit`` takes it.
        weights: ``"given"`` compares them as they are; ``"keras"`` or ``"torch"`` copies one side's first.
        torch_images: As PyTorch takes them, where that is not ``images`` turned.
        torch_labels: As PyTorch's loss takes them, where that is not ``labels``.
        match: Keras's name of a layer by PyTorch's, where the two do not find together by themselves.
        batch_size: Samples of a step.
        steps: Steps of the trainings; None for 50, or as many as fit into some seconds.
        numbers: Has no use any more, as no rungs are climbed here.
        judged: Called with the report as soon as it has the verdict, before that is explained.

    Returns:
        The report: ``verdict``, ``same_function``, ``same_training``, ``findings``, ``to_paste``, ``match``.

    Raises:
        UserError: An argument is off, or a model cannot take the inputs.

    Example:
        >>> report = check(torch_model, keras_model, images, labels)  # doctest: +SKIP
        >>> report.raise_if_broken(training=False)  # doctest: +SKIP
    """
    if weights not in ("given", "keras", "torch"):
        raise UserError(f'expected weights="given", "keras" or "torch", got {weights!r}')
    if numbers is not None:
        warnings.warn(UserNotice("check judges whole functions: numbers= has no use; leave it out"), stacklevel=2)
    with quiet():
        pair = build_model_pair(
            torch_model, keras_model, images, labels, torch_images=torch_images, torch_labels=torch_labels,
            torch_optimizer=torch_optimizer, keras_optimizer=keras_optimizer, torch_loss=torch_loss,
            keras_loss=keras_loss, torch_schedule=torch_schedule, torch_step=torch_step, class_weight=class_weight,
            sample_weight=sample_weight, batch_size=batch_size,
        )  # fmt: skip
        report = Report(notes=[versions()], find_match=partial(find_match, pair, match))
        with copied_weights(pair, report, weights):
            judge = Judge(pair, steps)
            report.judged = judge.verdict()
            if weights != "given":
                _ask_for_matches(report)
            report.notes += report.judged.notes
            if judged is not None:
                judged(report)
            if not report.holds:
                explain(judge, report, match or {})
    return report


def versions() -> str:
    """What computes."""
    return f"PyTorch {torch.__version__}, Keras {keras.__version__} on TensorFlow {tf.__version__}"


def _ask_for_matches(report: Report) -> None:
    """Says which weights were not copied; where the outputs differ, that decides nothing."""
    match = report.match
    if match is None or report.judged is None or not (match.only_torch or match.only_keras):
        return
    sides = ("PyTorch", match.only_torch), ("Keras", match.only_keras)
    left = " and ".join(f"{', '.join(names[:4])} of {side}" for side, names in sides if names)
    ask = "which is which? give match={'torch name': 'keras name'}"
    text = f"not copied, as no layer was matched to it: {left}; {ask}"
    report.judged.notes.append(text)
    if report.judged.same_function is False:
        report.judged.comparisons[0] = replace(report.judged.comparisons[0], same=None)
        report.judged.reason = text


@contextmanager
def copied_weights(pair: ModelPair, report: Report, weights: str) -> Iterator[None]:
    """Gives one side the weights of the other meanwhile, as far as they are matched."""
    lines = {
        "keras": ["report.match.copy_to_torch(keras_model, torch_model)"],
        "torch": ["report.match.copy_to_keras(torch_model, keras_model)"],
    }.get(weights, [])
    with applied(pair, lines, report) if lines else nullcontext():
        yield


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps TensorFlow from advising against tracing a function for each model."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Lets both frameworks round matrix products to TF32 meanwhile, or keeps them from it; for GPUs."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    tensorflow = tf.config.experimental.tensor_float_32_execution_enabled()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    tf.config.experimental.enable_tensor_float_32_execution(allowed)
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn
        tf.config.experimental.enable_tensor_float_32_execution(tensorflow)
