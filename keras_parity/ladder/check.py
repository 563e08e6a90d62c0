"""``check``: anybody's two models, held side by side in two lines."""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch
from torch import nn

from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.keras_layers import MaskedDropout
from keras_parity.ladder.attention import in_parts
from keras_parity.ladder.bad_inputs import bad_batches, bad_loss, bad_weights
from keras_parity.ladder.bad_layers import bad_layers
from keras_parity.ladder.bad_updates import bad_optimizer, bad_statistics, frozen_layers
from keras_parity.ladder.culprit import Culprit
from keras_parity.ladder.own_models import GivenKerasOptimizer, GivenSchedule, GivenTorchOptimizer, make_port
from keras_parity.ladder.pair import Pair
from keras_parity.ladder.port import Port
from keras_parity.ladder.report import Report
from keras_parity.ladder.rung import CAUSES, Rung
from keras_parity.ladder.rungs import RUNGS, rungs
from keras_parity.ladder.trajectories import Steps


def check(
    torch_model: nn.Module,
    keras_model: keras.Model,
    images: Any,
    labels: Any,
    *,
    torch_optimizer: GivenTorchOptimizer = None,
    keras_optimizer: GivenKerasOptimizer = None,
    torch_schedule: GivenSchedule = None,
    torch_loss: Callable[[Any, Any], Any] | None = None,
    keras_loss: Callable[[Any, Any], Any] | None = None,
    weights: str = "given",
    torch_images: Any = None,
    match: Mapping[str, str] | None = None,
    batch_size: int = 32,
    steps: int = 50,
    numbers: Sequence[int] = range(1, 12),
    climbed: Callable[[Rung], None] | None = None,
    device: str = "cpu",
) -> Report:
    """Finds out whether two models are the same computation, from the shapes of their layers to their training.

    Both are copied; neither is changed.

    Args:
        torch_model: Any module.
        keras_model: Any Keras model that is built, or that can be called with ``images``.
        images: As Keras takes them: an array or tensor, or a list of several inputs. Images of floats [count, height,
            width, channels] are turned for PyTorch; all else passes as it is.
        labels: Integers [count], one-hot [count, classes], or floats.
        torch_optimizer: One of ``torch_model``'s parameters, or what makes one of a list of parameters; SGD by default.
        keras_optimizer: One, what makes one, or its name; SGD by default. A learning rate stands in it as a float32.
        torch_schedule: Makes the schedule of PyTorch's optimizer, stepped behind each of its steps; Keras's lies in its
            optimizer.
        torch_loss: Mean loss of output and labels. By default cross-entropy, of logits or of probabilities, as the
            output is; the mean squared error for labels that are floats.
        keras_loss: Mean loss of labels and output; the same by default.
        weights: ``"given"`` compares them as they are; ``"keras"`` or ``"torch"`` copies one side's first.
        torch_images: As PyTorch takes them, where that is not ``images`` turned.
        match: Keras's name of a layer by PyTorch's, where the two do not find together by themselves.
        batch_size: Images a step.
        steps: Free steps of the trainings; half of them with weights given anew.
        numbers: The rungs to climb.
        climbed: Called with each rung as soon as it is climbed.
        device: ``"cpu"`` or ``"cuda"``, for both sides.

    Returns:
        The report.

    Raises:
        UserError: An argument is off, or a model cannot take the images.

    Example:
        >>> report = check(torch_model, keras_model, images, labels)  # doctest: +SKIP
        >>> report.raise_if_broken()  # doctest: +SKIP
    """
    if weights not in ("given", "keras", "torch"):
        raise UserError(f'expected weights="given", "keras" or "torch", got {weights!r}')
    port = make_port(
        in_parts(torch_model), keras_model, images, labels, torch_optimizer, keras_optimizer, torch_loss, keras_loss,
        torch_images, match, batch_size, device, torch_schedule,
    )  # fmt: skip
    return climb_and_explain(port, Steps(max(1, steps // 2), steps, 2), numbers, weights, climbed)


def climb_and_explain(
    port: Port,
    length: Steps,
    numbers: Sequence[int] = tuple(RUNGS),
    weights: str = "given",
    climbed: Callable[[Rung], None] | None = None,
) -> Report:
    """Climbs every rung, says what breaks each by itself, and tries the known repairs; arguments as in ``check``."""
    report = Report(notes=[f"PyTorch {torch.__version__}, Keras {keras.__version__} on TensorFlow {tf.__version__}"])
    with _quiet(), tf.device("/GPU:0" if port.device == "cuda" else "/CPU:0"):
        try:
            pair = _pair(port, report)
            report.match = pair.match
            if weights != "given":
                pair.adopt(weights)
        except Exception as error:  # of the user's own code, or of either framework
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            compared = "the models cannot be copied and run"
            report.rungs.append(Rung(1, compared, np.inf, None, False, reason, CAUSES[1]))
            return report
        matched = sum(bool(pair.match.torch_calls[p.torch].arrays) for p in pair.match.pairs)
        report.notes.append(f"{matched} layers and {len(pair.match.arrays)} arrays matched; {_settled(port)}")
        explained: set[Explain] = set()
        for rung in rungs(pair, length, numbers):
            report.rungs.append(rung)
            if climbed is not None:
                climbed(rung)
            if not rung.holds:
                report.culprits += _explained(pair, rung, report, explained)
    return report


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TensorFlow from advising against tracing a function for each model."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


def _pair(port: Port, report: Report) -> Pair:
    """Both sides, in float32 alone where one cannot be computed in float64."""
    try:
        return Pair(port)
    except Exception as error:  # a constant in float32, say, of a function of the user's
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        report.notes.append(f"float32 alone, as float64 fails with {reason[:100]}")
        return Pair(port, ("float32",))


def _settled(port: Port) -> str:
    dropouts = [module for module in port.network.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
    if not dropouts:
        return "no dropout"
    shared = all(isinstance(dropout, MaskedDropout) for dropout in dropouts)
    return "dropout has the same masks on both sides" if shared else "dropout is off on both sides"


Explain = Callable[[Pair], list[Culprit]]


def _explained(pair: Pair, rung: Rung, report: Report, explained: set[Explain]) -> list[Culprit]:
    """What breaks a rung, where no rung below it has said it."""
    below = {r.number for r in report.rungs[:-1] if not r.holds}
    explain: dict[int, list[Explain]] = {
        1: [bad_layers, bad_statistics],
        2: [bad_batches],
        3: [bad_weights],
        4: [bad_layers, bad_statistics],
        5: [bad_loss] if not {1, 4} & below else [],
        6: [frozen_layers],
        7: [bad_statistics] if "moving" in rung.compared else [] if "rate" in rung.compared else [bad_optimizer],
        8: [bad_optimizer, bad_statistics],
        9: [bad_optimizer, bad_statistics],
    }
    found: list[Culprit] = []
    for make in explain.get(rung.number, []):
        if make not in explained:
            explained.add(make)
            pair.reset()
            try:
                found += make(pair)
            except Exception as error:  # of a model that a repair was tried on
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                report.notes.append(f"rung {rung.number} could not be explained further: {reason[:120]}")
            pair.reset()
    return found


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
