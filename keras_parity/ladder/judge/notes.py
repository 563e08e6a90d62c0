"""What a verdict does not speak of: what was evened out or not exercised, and where nothing moved."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.judge.keras_runner import KerasRunner
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import Layout, distance
from keras_parity.ladder.judge.torch_runner import TorchRunner
from keras_parity.ladder.judge.verdict import CEILING, Verdict


def say_evened(verdict: Verdict, ours: TorchRunner, theirs: KerasRunner, layouts: list[Layout]) -> None:
    """Notes what is run otherwise than the frameworks would, and compared in another layout."""
    for framework, random in ((ours.framework, ours.random), (theirs.framework, theirs.random)):
        if random:
            names = ", ".join(dict.fromkeys(type(each).__name__ for each in random))
            verdict.notes.append(f"random in training, and off for the comparison: {names} of {framework}")
    for place, layout in enumerate(layouts):
        if layout.text:
            which = f"PyTorch's output {place + 1}" if len(layouts) > 1 else "PyTorch's output"
            verdict.notes.append(f"{which} was compared with the {layout.text}")
    if ours.norms and ours.training is not None:
        verdict.notes.append(
            "batch norms: PyTorch's moving variance divides by n - 1, Keras's by n; evened out for the comparison"
        )


def say_unexercised(pair: ModelPair, verdict: Verdict, both: list[list[NDArray]]) -> None:
    """Notes outputs that do not vary, and classes without a label.

    Args:
        pair: What was run.
        verdict: Gets the notes.
        both: PyTorch's outputs and Keras's.
    """
    if pair.count == 1:
        return
    for side, outputs in zip(("PyTorch", "Keras"), both, strict=True):
        arrays = [array for array in outputs if array.ndim and array.shape[0] > 1 and array.dtype.kind == "f"]
        if arrays and all(np.ptp(array, axis=0).max(initial=0.0) == 0 for array in arrays):
            verdict.notes.append(f"{side}'s outputs are the same for every input: nothing else was exercised")
    labels, output = pair.labels, both[1][0]
    if isinstance(labels, np.ndarray) and labels.dtype.kind in "iu" and output.ndim == labels.ndim + 1:
        missing = sorted(set(range(output.shape[-1])) - set(np.unique(labels).tolist()))
        if missing:
            named = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
            verdict.notes.append(f"classes without a label: {named}")


def say_motion(verdict: Verdict, both: list[Mapping[int, list[NDArray]]]) -> None:
    """Says where the trainings told nothing: rounding drowns them, or no step moved the outputs.

    Args:
        verdict: Gets the reason, or a note.
        both: The outputs of PyTorch's training and of Keras's, by step.
    """
    last = max(both[0])
    moved = max(distance(outputs[0], outputs[last]) for outputs in both)
    told = [c for c in verdict.comparisons[1:] if c.same is not None]
    if not told:
        verdict.reason = "after one step rounding alone changes the outputs more than can be told apart"
    elif verdict.differs_from is None and moved <= told[-1].limit:
        verdict.reason = "no step moved the outputs (a rate of 0, frozen weights?), so their agreement is empty"
    elif verdict.differs_from is None and told[-1].step != last:
        text = f"told apart up to step {told[-1].step}: after it rounding alone changes more than {CEILING:g}"
        verdict.notes.append(text)
