"""Notes that limit a verdict: adjustments for the comparison, untested behaviour, trainings that decide nothing."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.judge.keras_runner import KerasRunner
from keras_parity.ladder.judge.measures import Measure
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import Layout
from keras_parity.ladder.judge.torch_runner import TorchRunner
from keras_parity.ladder.judge.torch_training import Plateau
from keras_parity.ladder.judge.verdict import CEILING, Verdict


def note_adjustments(
    verdict: Verdict, torch_runner: TorchRunner, keras_runner: KerasRunner, layouts: list[Layout]
) -> None:
    """Notes random layers that are off, moved axes, batch norms with a biased variance, and schedules not stepped."""
    random = [
        f"{type(each).__name__} ({side.framework})" for side in (torch_runner, keras_runner) for each in side.random
    ]
    if random:
        verdict.notes.append(f"random layers are off in this comparison: {', '.join(dict.fromkeys(random))}")
    for place, layout in enumerate(layouts):
        if layout.text:
            which = f"PyTorch's output {place + 1}" if len(layouts) > 1 else "PyTorch's output"
            verdict.notes.append(f"{which} is compared with its {layout.text}")
    if torch_runner.norms and torch_runner.training is not None:
        verdict.notes.append(
            "batch norm: PyTorch's moving variance divides by n - 1, Keras's by n; here both divide by n"
        )
    if torch_runner.training is not None and any(isinstance(each, Plateau) for each in torch_runner.training.schedules):
        verdict.notes.append("ReduceLROnPlateau (PyTorch) keeps its rate in this comparison, which computes no metric")


def note_untested(pair: ModelPair, verdict: Verdict, both: list[list[NDArray]]) -> None:
    """Notes outputs that do not depend on the input, and classes without a label.

    Args:
        pair: The models that ran.
        verdict: Gets the notes.
        both: PyTorch's outputs and Keras's.
    """
    if pair.count == 1:
        return
    for side, outputs in zip(("PyTorch", "Keras"), both, strict=True):
        arrays = [array for array in outputs if array.ndim and array.shape[0] > 1 and array.dtype.kind == "f"]
        if arrays and all(np.ptp(array, axis=0).max(initial=0.0) == 0 for array in arrays):
            verdict.notes.append(f"{side}'s outputs are equal for every input, so they test little")
    labels, output = pair.labels, both[1][0]
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iu" and output.ndim == labels.ndim + 1:
        missing = sorted(set(range(output.shape[-1])) - set(np.unique(labels).tolist()))
        if missing:
            named = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
            verdict.notes.append(f"classes missing from the labels: {named}")


def note_movement(
    verdict: Verdict, both: list[Mapping[int, list[NDArray]]], measures: Mapping[tuple[str, int], list[Measure]]
) -> None:
    """Says where the trainings decide nothing: rounding drowns them, or no step moves the outputs.

    Args:
        verdict: Gets the reason, or a note.
        both: The outputs of PyTorch's training and of Keras's, by step.
        measures: By precision and step.
    """
    last = max(both[0])
    decided = [c for c in verdict.comparisons[1:] if c.same is not None]
    known = measures[decided[-1].precision, decided[-1].step] if decided else []
    moved = any(measure(outputs[0], outputs[last]) > limit for outputs in both for measure, limit in known)
    if not decided:
        verdict.reason = f"after one step, rounding alone changes the outputs by more than {CEILING:.0%}"
    elif verdict.differs_from is None and not moved:
        verdict.reason = "no step moved the outputs (learning rate 0, frozen weights?), so the trainings prove nothing"
    elif verdict.differs_from is None and decided[-1].step != last:
        step = decided[-1].step
        text = f"compared up to step {step}: after it, rounding alone changes the outputs by more than {CEILING:.0%}"
        verdict.notes.append(text)
