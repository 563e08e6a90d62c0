"""The rungs of the ladder: what each compares, its limit, and what usually breaks it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from keras_parity.ladder.rungs.comparison import Comparison
from keras_parity.ladder.rungs.port import Arrays, Port
from keras_parity.ladder.rungs.rung import (
    CAUSES,
    FACTOR,
    FINER,
    ROUNDED,
    Rung,
    value,
    with_the_same_ties,
    worst,
)
from keras_parity.ladder.rungs.static_checks import architecture, data, initial_weights
from keras_parity.ladder.rungs.trajectories import (
    Steps,
    free_float32,
    free_float64,
    given_weights,
    steps,
    trained_and_moved,
)


def climb(port: Port, length: Steps | None = None) -> Iterator[Rung]:
    """Climbs rung by rung, and ends with the first that breaks.

    Args:
        port: The model in both frameworks.
        length: How far the trainings go.

    Yields:
        The outcome of each rung.
    """
    for rung in rungs(Comparison(port), length or Steps()):
        yield rung
        if not rung.holds:
            return


def rungs(pair: Comparison, length: Steps, numbers: Sequence[int] = range(1, 12)) -> Iterator[Rung]:
    """The rungs that are asked for, one after the other, whether those below them hold or not.

    Where the shapes differ, nothing is trained.

    Args:
        pair: Both sides.
        length: How far the trainings go.
        numbers: Of the rungs.

    Yields:
        The outcome of each; one that could not be climbed breaks, and says why.
    """
    broken = set()
    for number in numbers:
        if 1 in broken and number > 4:
            return
        try:
            for rung in RUNGS[number](pair, length):
                yield rung
                broken |= set() if rung.holds else {number}
        except Exception as error:  # of the user's own code, or of either framework
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            yield Rung(number, "could not be climbed", float("inf"), None, False, reason, CAUSES[number])
            broken.add(number)


def _activations(pair: Comparison, length: Steps) -> Iterator[Rung]:
    tensors = {dtype: pair.tensors(records, "out") for dtype, records in pair.records.items()}
    yield _both(4, "activations of every layer, inference", tensors, 1e-9, 1e-5)


def _loss(pair: Comparison, length: Steps) -> Iterator[Rung]:
    pair.reset()
    values = {dtype: [side[0] for side in pair.gradients(dtype)] for dtype in pair.torch}
    errors = lambda: max(abs(a - b) for a, b in zip(values["float32"], values[pair.exact], strict=True))  # noqa: E731
    mine, other = values["float32"]
    yield value(5, "loss of the first batch, nats", 1e-6, mine, other, "loss", errors)


def _gradients(pair: Comparison, length: Steps) -> Iterator[Rung]:
    pair.reset()
    by = {dtype: pair.gradients(dtype) for dtype in pair.torch}
    arrays = {dtype: (ours[1], theirs[1]) for dtype, (ours, theirs) in by.items()}
    errors = [(arrays["float32"][side], arrays[pair.exact][side]) for side in (0, 1)]
    if pair.exact == "float64":
        exact = "gradient of every tensor, float64, relative"
        yield worst(6, exact, 1e-12, *arrays["float64"], lambda: errors, 1.0, FINER)
        batches = pair.port.torch_batches[0], pair.port.keras_batches[0]
        pair.reset()
        records = pair.torch["float64"].record(batches[0], True), pair.keras["float64"].record(batches[1], True)
        ours, theirs = (dict(reversed(list(side.items()))) for side in pair.tensors(records, "gradient"))
        values, limit = pair.tensors(records, "out")[0], 1e-12
        ours = {name: with_the_same_ties(mine, theirs[name], values[name], limit) for name, mine in ours.items()}
        if ours:
            yield worst(6, "gradient of every activation, backwards, float64, relative", limit, ours, theirs)
    # One that is all rounding, as of a shift before a norm, says nothing; in float32 many are, which float64 judges.
    ceiling = 0.2 if pair.exact == "float32" else 1.0
    yield worst(6, "gradient of every tensor, float32, relative", 1e-5, *arrays["float32"], lambda: errors, ceiling)


def _first_step(pair: Comparison, length: Steps) -> Iterator[Rung]:
    # Both optimizers take Keras's gradient: Adam's first step is a gradient over its own size, which enlarges the last
    # bits of one that nearly cancels a hundredfold, and those are rung 6's business.
    pair.reset()
    for dtype, keras in pair.keras.items():
        pair.torch[dtype].gradients(pair.port.torch_batches[0])  # whose statistics move too
        gradients = keras.gradients(pair.port.keras_batches[0])[1]
        pair.torch[dtype].update(pair.match.to_torch(gradients))
        keras.update(gradients)
    single, finest = pair.states("float32"), pair.states(pair.exact)
    if pair.exact == "float64":
        yield from trained_and_moved(7, "one optimizer step on one gradient, float64, relative", 1e-12, *finest)
    errors = list(zip(single, finest, strict=True))
    yield worst(7, "one optimizer step on one gradient, float32, relative", 1e-5, *single, lambda: errors)


def _given_weights(pair: Comparison, length: Steps) -> Iterator[Rung]:
    yield given_weights(pair, length.given)


def _free_float64(pair: Comparison, length: Steps) -> Iterator[Rung]:
    if pair.exact == "float64":
        yield from free_float64(pair, length.free)


def _free_float32(pair: Comparison, length: Steps) -> Iterator[Rung]:
    yield free_float32(pair, length.free, length.draws)


def _both(number: int, compared: str, by: dict[str, tuple[Arrays, Arrays]], double: float, single: float) -> Rung:
    """In float64, where rounding hides nothing, and in float32, where it does: the one that breaks, or the latter."""
    finest = by.get("float64", by["float32"])
    errors = [(by["float32"][side], finest[side]) for side in (0, 1)]
    rounded = worst(number, f"{compared}, float32, relative", single, *by["float32"], lambda: errors, ROUNDED)
    exact = worst(number, f"{compared}, float64, relative", double, *finest) if "float64" in by else rounded
    return rounded if exact.holds else exact


def _evaluation(pair: Comparison, length: Steps) -> Iterator[Rung]:
    """The whole test set, with weights that predict something: Keras's, trained for a while."""
    port, keras = pair.port, pair.keras["float32"]
    pair.reset()
    for _, batch in steps(port, length.given):
        keras.step(batch)
    for side in pair.keras.values():
        side.load(keras.state())
    pair.copy_weights("float32")
    inputs, labels = port.test
    turned = port.torch_test if port.torch_test is not None else np.ascontiguousarray(np.moveaxis(inputs, -1, 1))
    ours, theirs = pair.torch["float32"].outputs(turned), keras.outputs(inputs)
    exact = cache(lambda: pair.keras[pair.exact].outputs(inputs))
    value_of = pair.keras[pair.exact].value
    losses = pair.torch[pair.exact].value(ours, labels), value_of(theirs, labels)
    changed = ours.argmax(axis=-1) != theirs.argmax(axis=-1)
    where = f"{int(changed.sum())} of {len(labels):,} images predicted otherwise"
    error = lambda: abs(losses[1] - value_of(exact(), labels))  # noqa: E731
    rung = value(11, "evaluation: loss and predictions of the test set", 1e-6, losses[0], losses[1], where, error)
    if rung.holds and changed.any():
        finest = exact()
        ranked = np.sort(finest, axis=-1)
        ties = ranked[..., -1] - ranked[..., -2] <= FACTOR * np.abs(theirs - finest).max()
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
    8: _given_weights,
    9: _free_float64,
    10: _free_float32,
    11: _evaluation,
}
"""What climbs each rung."""
