"""Rungs 8 to 10: compares trainings step by step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.judge.nests import Arrays
from keras_parity.ladder.rungs.comparison import Comparison, Copies
from keras_parity.ladder.rungs.keras_side import KerasSide
from keras_parity.ladder.rungs.port import Batch, Port
from keras_parity.ladder.rungs.rung import CAUSES, CEILING, FACTOR, Rung, compare_tensors
from keras_parity.ladder.rungs.torch_side import TorchSide

DIVERGED = 1e-5
"""Difference of the losses from which two free trainings count as diverged, in nats."""

LIMIT = 1e-6
"""Difference of two losses at the same weights that counts as rounding without further proof, in nats."""


@dataclass(frozen=True)
class Steps:
    """Length of the trainings.

    Attributes:
        synced: Steps with the weights re-synchronised before each.
        free: Steps that each side trains on its own.
        draws: Perturbed trainings of each side.
    """

    synced: int = 100
    free: int = 200
    draws: int = 2


def steps(port: Port, count: int) -> Iterator[tuple[Batch, Batch]]:
    """Yields the batches of ``count`` steps as (PyTorch's, Keras's), starting again after the last."""
    for step in range(count):
        place = step % len(port.torch_batches)
        yield port.torch_batches[place], port.keras_batches[place]


def synced_losses(comparison: Comparison, length: Steps) -> Iterator[Rung]:
    """Rung 8: compares the losses at the same weights along Keras's training, in float32."""
    single = comparison.single
    comparison.reset()
    curve, limits = [], []
    for batches in steps(comparison.port, length.synced):
        weights = single.keras.state()
        single.copy_weights()
        losses = single.torch.gradients(batches[0])[0], single.keras.step(batches[1])
        curve.append(abs(losses[0] - losses[1]))
        within = curve[-1] <= LIMIT
        limits.append(LIMIT if within else max(LIMIT, FACTOR * _error(comparison.double, weights, batches, losses)))
    compared = f"loss over {length.synced} steps, float32, weights re-synchronised before each"
    yield _compare_curve(8, compared, curve, limits)


def _compare_curve(number: int, compared: str, curve: list[float], limits: list[float]) -> Rung:
    """Reports the first step over its limit, else the step of the largest difference."""
    over = [step for step, difference in enumerate(curve) if not difference <= limits[step]]
    step, curves = over[0] if over else int(np.argmax(curve)), {"difference": curve}
    return Rung(number, compared, curve[step], limits[step], not over, f"step {step + 1}", CAUSES[number], curves)


def _error(double: Copies, weights: Arrays, batches: tuple[Batch, Batch], losses: tuple[float, float]) -> float:
    """Returns the larger error of two losses against float64, capped to explain a difference of ``CEILING`` at most."""
    double.keras.load(weights)
    double.copy_weights()
    exact = double.torch.gradients(batches[0])[0], double.keras.gradients(batches[1])[0]
    error = max(abs(a - b) for a, b in zip(losses, exact, strict=True))
    return min(error, CEILING * max(1.0, abs(exact[1])) / FACTOR)


def free_float64(comparison: Comparison, length: Steps) -> Iterator[Rung]:
    """Rung 9: compares the losses and weights of free trainings in float64."""
    double, limit = comparison.double, 1e-10
    comparison.reset()
    both = [(double.torch.step(a), double.keras.step(b)) for a, b in steps(comparison.port, length.free)]
    comparison.losses = dict(zip(("PyTorch", "Keras"), np.array(both).T, strict=True))
    compared = f"loss of {length.free} free steps, float64"
    rung = _compare_curve(9, compared, [abs(a - b) for a, b in both], [limit] * length.free)
    yield rung
    if rung.holds:
        compared = f"weights after {length.free} free steps, float64, relative"
        yield from compare_states(9, compared, limit, *double.states())


def compare_states(number: int, compared: str, limit: float, from_torch: Arrays, from_keras: Arrays) -> Iterator[Rung]:
    """Compares trained weights, and moving statistics, if there are any, in a rung of their own."""
    moving = {name for name in from_torch | from_keras if name.rpartition(".")[2].startswith("running_")}
    for text, moves in (compared, False), (f"moving statistics, {compared}", True):
        if moving or not moves:
            first, second = (
                {name: array for name, array in arrays.items() if (name in moving) == moves}
                for arrays in (from_torch, from_keras)
            )
            yield compare_tensors(number, text, limit, first, second)


def free_float32(comparison: Comparison, length: Steps) -> Iterator[Rung]:
    """Rung 10: compares free float32 trainings; the noise is each side against its float64 and against one ulp."""
    sides: dict[str, tuple[TorchSide | KerasSide, Sequence[Batch]]] = {
        "PyTorch": (comparison.single.torch, comparison.port.torch_batches),
        "Keras": (comparison.single.keras, comparison.port.keras_batches),
    }
    count = length.free
    bases = {name: _trajectory(*side, count) for name, side in sides.items()}
    curves = {"PyTorch against Keras": np.abs(bases["PyTorch"] - bases["Keras"])}
    for name, exact in comparison.losses.items():
        curves[f"{name} against its float64"] = np.abs(bases[name] - exact[:count])
    for draw in range(length.draws):
        for name, side in sides.items():
            curves[f"{name} against {name}, draw {draw + 1}"] = np.abs(_trajectory(*side, count, draw) - bases[name])
    diverged = {name: int(np.argmax(c > DIVERGED)) if (c > DIVERGED).any() else count for name, c in curves.items()}
    widths = {name: float(curve.max()) for name, curve in curves.items()}
    between, *noise = curves
    soonest, widest = min(diverged[name] for name in noise), max(widths[name] for name in noise)
    # Draws are few, and the frameworks round differently in every operation, not only in the first weights: half the
    # soonest and twice the widest are within the spread of the draws themselves.
    holds = diverged[between] >= soonest / 2 and widths[between] <= 2 * widest
    here, alone = (
        f"diverged at step {s + 1}" if s < count else "did not diverge" for s in (diverged[between], soonest)
    )
    where = f"{here}; one framework against itself {alone}, largest difference {widest:.2g}"
    compared = f"loss of {count} free steps, float32, compared with one framework against itself"
    lists = {name: curve.tolist() for name, curve in curves.items()}
    yield Rung(10, compared, widths[between], None, holds, where, CAUSES[10], lists)


def _trajectory(
    side: TorchSide | KerasSide, batches: Sequence[Batch], count: int, draw: int | None = None
) -> NDArray[np.float64]:
    """Returns the losses of a free training from the initial weights, or from one ulp away."""
    side.reset()
    if draw is not None:
        side.load(_one_ulp_off(side.state(), draw))
    return np.array([side.step(batches[step % len(batches)]) for step in range(count)])


def _one_ulp_off(weights: Arrays, seed: int) -> Arrays:
    generator = np.random.default_rng(seed)
    towards = {name: np.where(generator.random(array.shape) < 0.5, -np.inf, np.inf) for name, array in weights.items()}
    return {name: np.nextafter(array, towards[name].astype(array.dtype)) for name, array in weights.items()}
