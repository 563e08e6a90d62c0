"""The eleven rungs of the ladder."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from keras_parity.ladder.rungs.comparison import Comparison
from keras_parity.ladder.rungs.port import Port
from keras_parity.ladder.rungs.rung import (
    CAUSES,
    FACTOR,
    FINER,
    ROUNDED,
    Rung,
    align_ties,
    compare_tensors,
    compare_values,
)
from keras_parity.ladder.rungs.static_checks import architecture, data, initial_weights
from keras_parity.ladder.rungs.trajectories import (
    Steps,
    compare_states,
    free_float32,
    free_float64,
    steps,
    synced_losses,
)


def climb(port: Port, length: Steps | None = None) -> Iterator[Rung]:
    """Climbs rung by rung, up to the first that breaks.

    Args:
        port: The model in both frameworks.
        length: Length of the trainings; None for the default.

    Yields:
        The result of each rung.
    """
    for rung in rungs(Comparison(port), length or Steps()):
        yield rung
        if not rung.holds:
            return


def rungs(comparison: Comparison, length: Steps, numbers: Sequence[int] = range(1, 12)) -> Iterator[Rung]:
    """Climbs the requested rungs in order, even above one that breaks; if the shapes differ, nothing is trained.

    Args:
        comparison: Both sides.
        length: Length of the trainings.
        numbers: The rungs to climb, 1 to 11.

    Yields:
        The result of each rung; a rung that raises an error breaks and names the error.
    """
    broken = set()
    for number in numbers:
        if 1 in broken and number > 4:
            return
        try:
            for rung in RUNGS[number](comparison, length):
                yield rung
                broken |= set() if rung.holds else {number}
        except Exception as error:  # raised by the user's own code or by a framework
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            yield Rung(number, "stopped by an error", float("inf"), None, False, reason, CAUSES[number])
            broken.add(number)


def _activations(comparison: Comparison, length: Steps) -> Iterator[Rung]:
    """Compares in float64, where rounding hides nothing, and in float32; yields the one that breaks, or float32."""
    single, double = (copies.tensors("output") for copies in (comparison.single, comparison.double))
    compared = "activations of every layer, inference"
    rung = compare_tensors(4, f"{compared}, float64, relative", 1e-9, *double)
    if rung.holds:
        rung = compare_tensors(4, f"{compared}, float32, relative", 1e-5, *single, double, ROUNDED)
    yield rung


def _loss(comparison: Comparison, length: Steps) -> Iterator[Rung]:
    comparison.reset()
    single, double = (copies.gradients()[0] for copies in (comparison.single, comparison.double))
    error = lambda: max(abs(a - b) for a, b in zip(single, double, strict=True))  # noqa: E731
    yield compare_values(5, "loss of the first batch, nats", 1e-6, *single, "loss", error)


def _gradients(comparison: Comparison, length: Steps) -> Iterator[Rung]:
    comparison.reset()
    single, double = (copies.gradients()[1] for copies in (comparison.single, comparison.double))
    compared, limit = "gradient of every tensor, float64, relative", 1e-12
    yield compare_tensors(6, compared, limit, *double, single, 1.0, FINER)
    comparison.reset()
    port, copies = comparison.port, comparison.double
    records = copies.torch.record(port.torch_batches[0], True), copies.keras.record(port.keras_batches[0], True)
    from_torch, from_keras = (dict(reversed(side.items())) for side in copies.tensors("gradient", records))
    values = copies.tensors("output", records)[0]
    aligned = {name: align_ties(g, from_keras[name], values[name], limit) for name, g in from_torch.items()}
    if aligned:
        compared = "gradient of every activation, backwards, float64, relative"
        yield compare_tensors(6, compared, limit, aligned, from_keras)
    # A gradient of pure rounding, such as that of a shift before a norm, decides nothing; float64 judges it.
    yield compare_tensors(6, "gradient of every tensor, float32, relative", 1e-5, *single, double, 1.0)


def _first_step(comparison: Comparison, length: Steps) -> Iterator[Rung]:
    # Both optimizers take Keras's gradient. Adam's first step divides a gradient by its own magnitude, so rounding in a
    # gradient near zero would grow a hundredfold; rung 6 compares the gradients.
    comparison.reset()
    for copies in (comparison.single, comparison.double):
        copies.torch.gradients(comparison.port.torch_batches[0])  # updates the statistics
        gradients = copies.keras.gradients(comparison.port.keras_batches[0])[1]
        copies.torch.update(copies.match.to_torch(gradients))
        copies.keras.update(gradients)
    single, double = comparison.single.states(), comparison.double.states()
    compared = "one optimizer step on one gradient"
    yield from compare_states(7, f"{compared}, float64, relative", 1e-12, *double)
    yield compare_tensors(7, f"{compared}, float32, relative", 1e-5, *single, double)


def _evaluation(comparison: Comparison, length: Steps) -> Iterator[Rung]:
    """Evaluates the whole test set, with Keras's weights after some training."""
    single, double, (images, labels) = comparison.single, comparison.double, comparison.port.test
    comparison.reset()
    for _, batch in steps(comparison.port, length.synced):
        single.keras.step(batch)
    double.keras.load(single.keras.state())
    single.copy_weights()
    from_torch = single.torch.outputs(np.ascontiguousarray(np.moveaxis(images, -1, 1)))
    from_keras = single.keras.outputs(images)
    exact = cache(lambda: double.keras.outputs(images))
    loss = double.keras.value(from_keras, labels)
    losses = double.torch.value(from_torch, labels), loss
    changed = from_torch.argmax(axis=-1) != from_keras.argmax(axis=-1)
    where = f"{int(changed.sum())} of {len(labels):,} images predicted differently"
    error = lambda: abs(loss - double.keras.value(exact(), labels))  # noqa: E731
    rung = compare_values(11, "evaluation: loss and predictions of the test set", 1e-6, *losses, where, error)
    if rung.holds and changed.any():
        ranked = np.sort(exact(), axis=-1)
        ties = ranked[..., -1] - ranked[..., -2] <= FACTOR * np.abs(from_keras - exact()).max()
        rung = replace(rung, holds=not (changed & ~ties).any())
    yield rung


RUNGS: dict[int, Callable[[Comparison, Steps], Iterator[Rung]]] = {
    1: architecture,
    2: data,
    3: initial_weights,
    4: _activations,
    5: _loss,
    6: _gradients,
    7: _first_step,
    8: synced_losses,
    9: free_float64,
    10: free_float32,
    11: _evaluation,
}
"""The function that climbs each rung."""
