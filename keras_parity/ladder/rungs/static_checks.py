"""Rungs 1 to 3: layers, batches and initial weights must be equal."""

from collections.abc import Iterator

import numpy as np

from keras_parity.ladder.judge.nests import array_distance
from keras_parity.ladder.matching.match_weights import Match
from keras_parity.ladder.rungs.comparison import Comparison
from keras_parity.ladder.rungs.rung import CAUSES, Rung
from keras_parity.ladder.rungs.trajectories import Steps


def architecture(comparison: Comparison, length: Steps) -> Iterator[Rung]:
    """Rung 1: compares the shapes and parameters of every layer."""
    yield _equal(1, "shapes and parameters of every layer", _other_shape(comparison.double.match))


def _other_shape(match: Match) -> str:
    """Describes the first layer that differs; empty if none does."""
    for pair in match.pairs:
        torch_call, keras_call = match.torch_calls[pair.torch], match.keras_calls[pair.keras]
        shapes = [None if call.output is None else call.output.shape[1:] for call in (torch_call, keras_call)]
        sizes = [None if shape is None else [length for length in shape if length > 1] for shape in shapes]
        counts = (
            sum(int(np.prod(shape)) for shape in dict(torch_call.arrays).values()),
            sum(int(np.prod(array.shapes[0])) for array in keras_call.arrays),
        )
        if (None not in sizes and sizes[0] != sizes[1]) or counts[0] != counts[1]:
            in_torch = f"shape {shapes[0]} and {counts[0]:,} parameters in PyTorch"
            return f"{torch_call.name}: {in_torch}, {shapes[1]} and {counts[1]:,} in Keras"
    for names, framework in ((match.only_torch, "PyTorch"), (match.only_keras, "Keras")):
        if names:
            return f"{', '.join(names[:4])} only in {framework}"
    return ""


def data(comparison: Comparison, length: Steps) -> Iterator[Rung]:
    """Rung 2: compares the batches of the first steps, byte for byte."""
    torch_batches, keras_batches = comparison.port.torch_batches, comparison.port.keras_batches
    if len(torch_batches) != len(keras_batches):
        where = f"{len(torch_batches)} batches in PyTorch, {len(keras_batches)} in Keras"
        yield _equal(2, "number of batches", where, abs(len(torch_batches) - len(keras_batches)))
        return
    batches = list(zip(torch_batches, keras_batches, strict=True))[: length.synced]
    where = ""
    for step, ((images, labels), (keras_images, keras_labels)) in enumerate(batches):
        same_images = np.ascontiguousarray(np.moveaxis(images, 1, -1)).tobytes() == keras_images.tobytes()
        if not same_images or labels.tobytes() != keras_labels.tobytes():
            where = f"{'labels' if same_images else 'images'} of batch {step}"
            break
    yield _equal(2, f"first {len(batches)} batches, byte for byte", where)


def initial_weights(comparison: Comparison, length: Steps) -> Iterator[Rung]:
    """Rung 3: compares the initial weights, byte for byte."""
    from_torch, from_keras = comparison.single.states()
    compared = "initial weights, byte for byte"
    for name in from_torch | from_keras:
        if name not in from_torch or name not in from_keras:
            yield _equal(3, compared, name)
            return
        if from_torch[name].tobytes() != from_keras[name].tobytes():
            yield _equal(3, compared, name, array_distance(from_torch[name], from_keras[name]))
            return
    yield _equal(3, compared, "")


def _equal(number: int, compared: str, where: str, difference: float = float("inf")) -> Rung:
    """A rung that holds if there is no place that differs."""
    return Rung(number, compared, difference if where else 0.0, 0, not where, where, CAUSES[number])
