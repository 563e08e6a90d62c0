"""Rungs 1 to 3: the layers, the batches and the initial weights, which must be equal."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.matching.match_weights import Match
from keras_parity.ladder.rungs.comparison import Comparison
from keras_parity.ladder.rungs.port import Arrays, Port, as_tuple
from keras_parity.ladder.rungs.rung import CAUSES, Rung, relative
from keras_parity.ladder.rungs.trajectories import Steps


def architecture(pair: Comparison, length: Steps) -> Iterator[Rung]:
    """Rung 1: the shapes and parameters of every layer."""
    yield _shapes(pair.match)


def _shapes(match: Match) -> Rung:
    compared = "shapes and parameters of every layer"
    for pair in match.pairs:
        ours, theirs = match.torch_calls[pair.torch], match.keras_calls[pair.keras]
        shapes = [None if call.out is None else tuple(call.out.shape[1:]) for call in (ours, theirs)]
        sizes = [None if shape is None else [length for length in shape if length > 1] for shape in shapes]
        counts = sum(int(np.prod(shape)) for shape in ours.arrays.values()) if ours.arrays else 0, _count(theirs.arrays)
        same_shape = None in sizes or sizes[0] == sizes[1]
        if not same_shape or counts[0] != counts[1]:
            mine, other = f"{shapes[0]} and {counts[0]:,} parameters", f"{shapes[1]} and {counts[1]:,}"
            where = f"{ours.name}: shape {mine} in PyTorch, {other} in Keras"
            return Rung(1, compared, float("inf"), 0, False, where, CAUSES[1])
    for names, framework in ((match.only_torch, "PyTorch"), (match.only_keras, "Keras")):
        if names:
            return Rung(1, compared, float("inf"), 0, False, f"{', '.join(names[:4])} in {framework} alone", CAUSES[1])
    return Rung(1, compared, 0.0, 0, True, cause=CAUSES[1])


def _count(arrays: Any) -> int:
    return sum(int(np.prod(shape)) for array in arrays for shape in array.shapes[:1])


def data(pair: Comparison, length: Steps) -> Iterator[Rung]:
    """Rung 2: the batches of the first steps, byte for byte."""
    yield _batches(pair.port, length.given)


def _batches(port: Port, count: int) -> Rung:
    counts = len(port.torch_batches), len(port.keras_batches)
    if counts[0] != counts[1]:
        where = f"{counts[0]} batches in PyTorch, {counts[1]} in Keras"
        return Rung(2, "number of batches", abs(counts[0] - counts[1]), 0, False, where, CAUSES[2])
    batches = list(zip(port.torch_batches, port.keras_batches, strict=True))[:count]
    for step, ((inputs, labels), (keras_inputs, keras_labels)) in enumerate(batches):
        sides = zip(as_tuple(inputs), as_tuple(keras_inputs), strict=True)
        same = all(_equal_inputs(ours, theirs) for ours, theirs in sides)
        if not same or labels.tobytes() != keras_labels.tobytes():
            what = "labels" if same else "images"
            return Rung(2, "batches, byte for byte", float("inf"), 0, False, f"{what} of batch {step}", CAUSES[2])
    return Rung(2, f"first {len(batches)} batches, byte for byte", 0.0, 0, True, cause=CAUSES[2])


def _equal_inputs(ours: NDArray, theirs: NDArray) -> bool:
    """Byte for byte, as they are or with the channels moved to the end."""
    moved = np.moveaxis(ours, 1, -1) if ours.ndim > 2 else ours
    return theirs.tobytes() in (np.ascontiguousarray(moved).tobytes(), ours.tobytes())


def initial_weights(pair: Comparison, length: Steps) -> Iterator[Rung]:
    """Rung 3: the weights, byte for byte."""
    yield _equal_bytes(3, "initial weights, byte for byte", *pair.states("float32"), CAUSES[3])


def _equal_bytes(number: int, compared: str, ours: Arrays, theirs: Arrays, cause: str) -> Rung:
    for name in ours | theirs:
        if name not in ours or name not in theirs or ours[name].tobytes() != theirs[name].tobytes():
            both = name in ours and name in theirs
            difference = relative(ours[name], theirs[name]) if both else float("inf")
            return Rung(number, compared, difference, 0, False, name, cause)
    return Rung(number, compared, 0.0, 0, True, cause=cause)
