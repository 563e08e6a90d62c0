"""The rungs of the ladder: what each compares, its limit, and what usually breaks it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.match import Match
from keras_parity.ladder.pair import Pair
from keras_parity.ladder.port import Arrays, Port, as_tuple
from keras_parity.ladder.rung import CAUSES, FACTOR, Rung, relative, value, worst
from keras_parity.ladder.trajectories import Steps, free_float32, free_float64, given_weights, steps


def climb(port: Port, length: Steps | None = None) -> Iterator[Rung]:
    """Climbs rung by rung, and ends with the first that breaks.

    Args:
        port: The model in both frameworks.
        length: How far the trainings go.

    Yields:
        The outcome of each rung.
    """
    for rung in rungs(Pair(port), length or Steps()):
        yield rung
        if not rung.holds:
            return


def rungs(pair: Pair, length: Steps) -> Iterator[Rung]:
    """Every rung, one after the other, whether those below it hold or not."""
    port, match = pair.port, pair.match
    yield _architecture(match)
    yield _data(port, length.given)
    yield _equal_bytes(3, "initial weights, byte for byte", *pair.states("float32"), CAUSES[3])

    tensors = {dtype: pair.tensors(records, "out") for dtype, records in pair.records.items()}
    yield _both(4, "activations of every layer, inference", tensors, 1e-9, 1e-5)

    (loss, _), (keras_loss, _) = (single := pair.gradients("float32"))
    double = pair.gradients("float64")
    errors = lambda: max(abs(a[0] - b[0]) for a, b in zip(single, double, strict=True))  # noqa: E731
    yield value(5, "loss of the first batch, nats", 1e-6, loss, keras_loss, "loss", errors)
    yield from _gradients(pair, {"float32": single, "float64": double})
    yield from _first_step(pair)

    yield given_weights(pair, length.given)
    yield free_float64(pair, length.free)
    yield free_float32(pair, length.free, length.draws)
    yield _evaluation(pair, length.given)


def _both(number: int, compared: str, by: dict[str, tuple[Arrays, Arrays]], double: float, single: float) -> Rung:
    """In float64, where rounding hides nothing, and in float32, where it does: the one that breaks, or the latter."""
    exact = worst(number, f"{compared}, float64, relative", double, *by["float64"])
    errors = [(by["float32"][side], by["float64"][side]) for side in (0, 1)]
    rounded = worst(number, f"{compared}, float32, relative", single, *by["float32"], lambda: errors)
    return rounded if exact.holds else exact


def _gradients(pair: Pair, by: dict[str, Any]) -> Iterator[Rung]:
    arrays = {dtype: (ours[1], theirs[1]) for dtype, (ours, theirs) in by.items()}
    yield worst(6, "gradient of every tensor, float64, relative", 1e-12, *arrays["float64"])
    errors = [(arrays["float32"][side], arrays["float64"][side]) for side in (0, 1)]
    yield worst(6, "gradient of every tensor, float32, relative", 1e-5, *arrays["float32"], lambda: errors)


def _first_step(pair: Pair) -> Iterator[Rung]:
    port = pair.port
    pair.reset()
    pair.torch["float64"].step(port.torch_batches[0])
    pair.keras["float64"].step(port.keras_batches[0])
    yield worst(7, "one optimizer step, float64, relative", 1e-12, *pair.states("float64"))
    # In float32 both optimizers take Keras's gradient: Adam's first step is a gradient over its own size, which
    # enlarges the last bits of one that nearly cancels a hundredfold, and those are rung 6's business.
    pair.torch["float32"].gradients(port.torch_batches[0])  # whose statistics move too
    gradients = pair.keras["float32"].gradients(port.keras_batches[0])[1]
    pair.torch["float32"].update(pair.match.to_torch(gradients))
    pair.keras["float32"].update(gradients)
    single, double = pair.states("float32"), pair.states("float64")
    errors = list(zip(single, double, strict=True))
    yield worst(7, "one optimizer step on one gradient, float32, relative", 1e-5, *single, lambda: errors)


def _architecture(match: Match) -> Rung:
    compared = "shapes and parameters of every layer"
    for pair in match.pairs:
        ours, theirs = match.torch_calls[pair.torch], match.keras_calls[pair.keras]
        shapes = [None if call.out is None else tuple(call.out.shape[1:]) for call in (ours, theirs)]
        counts = sum(int(np.prod(shape)) for shape in ours.arrays.values()) if ours.arrays else 0, _count(theirs.arrays)
        same_shape = None in shapes or shapes[0] == shapes[1]
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


def _data(port: Port, count: int) -> Rung:
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


def _equal_bytes(number: int, compared: str, ours: Arrays, theirs: Arrays, cause: str) -> Rung:
    for name in ours | theirs:
        if name not in ours or name not in theirs or ours[name].tobytes() != theirs[name].tobytes():
            both = name in ours and name in theirs
            difference = relative(ours[name], theirs[name]) if both else float("inf")
            return Rung(number, compared, difference, 0, False, name, cause)
    return Rung(number, compared, 0.0, 0, True, cause=cause)


def _evaluation(pair: Pair, count: int) -> Rung:
    """The whole test set, with weights that predict something: Keras's, trained for a while."""
    port, keras = pair.port, pair.keras["float32"]
    pair.reset()
    for _, batch in steps(port, count):
        keras.step(batch)
    for side in pair.keras.values():
        side.load(keras.state())
    pair.share("float32")
    inputs, labels = port.test
    turned = port.torch_test if port.torch_test is not None else np.ascontiguousarray(np.moveaxis(inputs, -1, 1))
    ours, theirs = pair.torch["float32"].outputs(turned), keras.outputs(inputs)
    losses = [_cross_entropy(outputs, labels) for outputs in (ours, theirs)]
    changed = ours.argmax(axis=-1) != theirs.argmax(axis=-1)

    def error() -> float:
        return abs(losses[1] - _cross_entropy(pair.keras["float64"].outputs(inputs), labels))

    where = f"{int(changed.sum())} of {len(labels):,} images predicted otherwise"
    rung = value(11, "evaluation: loss and predictions of the test set", 1e-6, *losses, where, error)
    if not rung.holds or not changed.any():
        return rung
    exact = np.sort(pair.keras["float64"].outputs(inputs), axis=-1)
    ties = exact[..., -1] - exact[..., -2] <= FACTOR * np.abs(np.sort(theirs, axis=-1) - exact).max()
    holds = not (changed & ~ties).any()
    return Rung(11, rung.compared, rung.difference, rung.limit, holds, where, CAUSES[11])


def _cross_entropy(logits: NDArray, labels: NDArray) -> float:
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sums = np.log(np.exp(shifted).sum(axis=1))
    return float((log_sums - shifted[np.arange(len(labels)), labels]).mean())
