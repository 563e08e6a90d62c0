"""Rungs 8 to 10: trainings side by side, step by step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.rungs.comparison import Comparison
from keras_parity.ladder.rungs.keras_side import KerasSide
from keras_parity.ladder.rungs.port import Arrays, Batch, Port
from keras_parity.ladder.rungs.rung import CAUSES, CEILING, FACTOR, Rung, worst
from keras_parity.ladder.rungs.torch_side import TorchSide

DIVERGED = 1e-5
"""Difference of the losses from which two free trainings count as diverged, in nats."""

LIMIT = 1e-6
"""Difference of two losses at the same weights that needs no excuse by rounding, in nats."""


@dataclass(frozen=True)
class Steps:
    """How far the trainings go: steps with weights given, free ones, and draws of noise."""

    given: int = 100
    free: int = 200
    draws: int = 2


def steps(port: Port, count: int) -> Iterator[tuple[Batch, Batch]]:
    """The batches of ``count`` steps as (PyTorch's, Keras's), from the first again where there are fewer."""
    for step in range(count):
        place = step % len(port.torch_batches)
        yield port.torch_batches[place], port.keras_batches[place]


def given_weights(pair: Comparison, count: int) -> Rung:
    """Rung 8: the losses at the same weights, along Keras's training, in float32."""
    pytorch, keras = pair.torch["float32"], pair.keras["float32"]
    pair.reset()
    curve, limits = [], []
    for torch_batch, keras_batch in steps(pair.port, count):
        weights = keras.state()
        pytorch.load(pair.match.to_torch(weights))
        losses = pytorch.gradients(torch_batch)[0], keras.step(keras_batch)
        curve.append(abs(losses[0] - losses[1]))
        within = curve[-1] <= LIMIT
        limits.append(
            LIMIT if within else max(LIMIT, FACTOR * _errors(pair, weights, torch_batch, keras_batch, losses))
        )
    over = [step for step in range(count) if not curve[step] <= limits[step]]
    step = over[0] if over else int(np.argmax(curve))
    compared = f"loss over {count} steps, float32, weights re-synchronised before each"
    return Rung(8, compared, curve[step], limits[step], not over, f"step {step + 1}", CAUSES[8], {"difference": curve})


def _errors(
    pair: Comparison, weights: Arrays, torch_batch: Batch, keras_batch: Batch, losses: tuple[float, float]
) -> float:
    """How far the worse of two losses is from the same in float64; infinite where the two in float64 differ."""
    pytorch, keras = pair.torch[pair.exact], pair.keras[pair.exact]
    keras.load(weights)
    pair.copy_weights(pair.exact)
    double = pytorch.gradients(torch_batch)[0], keras.gradients(keras_batch)[0]
    return min(
        max(abs(a - b) for a, b in zip(losses, double, strict=True)), CEILING * max(1.0, abs(double[1])) / FACTOR
    )


def free_float64(pair: Comparison, count: int) -> Iterator[Rung]:
    """Rung 9: both train on their own, in float64."""
    pytorch, keras = pair.torch["float64"], pair.keras["float64"]
    pair.reset()
    both = [(pytorch.step(a), keras.step(b)) for a, b in steps(pair.port, count)]
    pair.losses = {
        name: np.array(losses) for name, losses in zip(("PyTorch", "Keras"), zip(*both, strict=True), strict=True)
    }
    curve = [abs(ours - theirs) for ours, theirs in both]
    compared = f"loss of {count} free steps, float64"
    over = [step for step, difference in enumerate(curve) if not difference <= 1e-10]
    step = over[0] if over else int(np.argmax(curve))
    yield Rung(9, compared, curve[step], 1e-10, not over, f"step {step + 1}", CAUSES[9], {"difference": curve})
    if not over:
        yield from trained_and_moved(
            9, f"weights after {count} free steps, float64, relative", 1e-10, *pair.states("float64")
        )


def trained_and_moved(number: int, compared: str, limit: float, ours: Arrays, theirs: Arrays) -> Iterator[Rung]:
    """The trained weights, and the moving statistics where there are any, as a rung of their own."""
    moving = {name for name in ours | theirs if name.rpartition(".")[2].startswith("running_")}
    trained, statistics = (
        tuple({name: a for name, a in arrays.items() if (name in moving) == which} for arrays in (ours, theirs))
        for which in (False, True)
    )
    yield worst(number, compared, limit, trained[0], trained[1])
    if moving:
        yield worst(number, f"moving statistics, {compared}", limit, statistics[0], statistics[1])


def free_float32(pair: Comparison, count: int, draws: int) -> Rung:
    """Rung 10: the frameworks side by side, and each against itself: in float64, and with one ulp on every weight."""
    sides: dict[str, tuple[TorchSide | KerasSide, Sequence[Batch]]] = {
        "PyTorch": (pair.torch["float32"], pair.port.torch_batches),
        "Keras": (pair.keras["float32"], pair.port.keras_batches),
    }
    bases = {name: _trajectory(*side, count) for name, side in sides.items()}
    curves = {"PyTorch against Keras": np.abs(bases["PyTorch"] - bases["Keras"])}
    for name, exact in pair.losses.items():
        curves[f"{name} against its float64"] = np.abs(bases[name] - exact[:count])
    for draw in range(draws):
        for name, side in sides.items():
            curves[f"{name} against {name}, draw {draw + 1}"] = np.abs(_trajectory(*side, count, draw) - bases[name])
    diverged = {name: int(np.argmax(c > DIVERGED)) if (c > DIVERGED).any() else count for name, c in curves.items()}
    widths = {name: float(curve.max()) for name, curve in curves.items()}
    (between, *_), own = curves, list(curves)[1:]
    soonest, widest = min(diverged[name] for name in own), max(widths[name] for name in own)
    # Draws are few, and the frameworks round differently in every operation, not in the first weights alone: half
    # of the soonest and twice the widest are as alike as draws are among themselves.
    holds = diverged[between] >= soonest / 2 and widths[between] <= 2 * widest
    here, alone = (
        f"diverged at step {s + 1}" if s < count else "did not diverge" for s in (diverged[between], soonest)
    )
    where = f"{here}; one framework from itself {alone}, by {widest:.2g} at most"
    compared = f"loss of {count} free steps, float32, next to one framework against itself"
    lists = {name: curve.tolist() for name, curve in curves.items()}
    return Rung(10, compared, widths[between], None, holds, where, CAUSES[10], lists)


def _trajectory(
    side: TorchSide | KerasSide, batches: Sequence[Batch], count: int, draw: int | None = None
) -> NDArray[np.float64]:
    """The losses of a free training from the initial weights, or from one ulp beside them."""
    side.reset()
    if draw is not None:
        side.load(_one_ulp_off(side.state(), draw))
    return np.array([side.step(batches[step % len(batches)]) for step in range(count)])


def _one_ulp_off(weights: Arrays, seed: int) -> Arrays:
    generator = np.random.default_rng(seed)
    towards = {name: np.where(generator.random(array.shape) < 0.5, -np.inf, np.inf) for name, array in weights.items()}
    return {name: np.nextafter(array, towards[name].astype(array.dtype)) for name, array in weights.items()}
