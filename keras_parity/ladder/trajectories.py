"""Rungs 8 to 10: trainings side by side, step by step."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.port import Arrays, Batch, KerasSide, Port, TorchSide
from keras_parity.ladder.rung import CAUSES, Rung, worst

STEPS_GIVEN, STEPS_FREE, DRAWS = 100, 200, 4
PARTED = 1e-5
"""Difference of the losses from which two free trainings count as parted, in nats."""


def steps(port: Port, count: int) -> Iterator[tuple[Batch, Batch]]:
    """The batches of ``count`` steps as (PyTorch's, Keras's), from the first again where there are fewer."""
    for step in range(count):
        place = step % len(port.torch_batches)
        yield port.torch_batches[place], port.keras_batches[place]


def given_weights(port: Port, pytorch: TorchSide, keras: KerasSide) -> Rung:
    """Rung 8: the losses at the same weights, along Keras's training; the sides in float32."""
    keras.reset()
    curve = []
    for torch_batch, keras_batch in steps(port, STEPS_GIVEN):
        pytorch.load(port.to_pytorch(keras.weights()))
        curve.append(abs(pytorch.gradients(torch_batch)[0] - keras.step(keras_batch)))
    compared = f"loss of {STEPS_GIVEN} steps, float32, weights given anew before each"
    return _by_step(8, compared, 1e-6, curve)


def _by_step(number: int, compared: str, limit: float, curve: list[float]) -> Rung:
    over = [step for step, difference in enumerate(curve) if not difference <= limit]
    step = over[0] if over else int(np.argmax(curve))
    where = f"step {step + 1}"
    return Rung(number, compared, curve[step], limit, not over, where, CAUSES[number], {"difference": curve})


def free_float64(port: Port, pytorch: TorchSide, keras: KerasSide) -> Rung:
    """Rung 9: both train on their own; the sides in float64."""
    pytorch.reset()
    keras.reset()
    curve = [abs(pytorch.step(a) - keras.step(b)) for a, b in steps(port, STEPS_FREE)]
    rung = _by_step(9, f"loss of {STEPS_FREE} free steps, float64, and the final weights", 1e-10, curve)
    if not rung.holds:
        return rung
    weights = worst(9, rung.compared, 1e-10, pytorch.weights(), port.to_pytorch(keras.weights()))
    return rung if weights.holds else weights


def free_float32(port: Port, pytorch: TorchSide, keras: KerasSide) -> Rung:
    """Rung 10: the frameworks side by side, and each against itself with one ulp of noise on every weight."""
    sides: dict[str, tuple[TorchSide | KerasSide, Sequence[Batch]]] = {
        "PyTorch": (pytorch, port.torch_batches),
        "Keras": (keras, port.keras_batches),
    }
    bases = {name: _trajectory(*side) for name, side in sides.items()}
    curves = {"PyTorch against Keras": np.abs(bases["PyTorch"] - bases["Keras"])}
    for draw in range(DRAWS):
        for name, side in sides.items():
            curves[f"{name} against {name}, draw {draw + 1}"] = np.abs(_trajectory(*side, draw) - bases[name])
    parted = {
        name: int(np.argmax(curve > PARTED)) if (curve > PARTED).any() else STEPS_FREE for name, curve in curves.items()
    }
    widths = {name: float(curve.max()) for name, curve in curves.items()}
    (between, *_), own = curves, list(curves)[1:]
    soonest, widest = min(parted[name] for name in own), max(widths[name] for name in own)
    # Draws are few, and the frameworks round differently in every operation, not in the first weights alone: half
    # of the soonest and twice the widest are as alike as draws are among themselves.
    holds = parted[between] >= soonest / 2 and widths[between] <= 2 * widest
    where = f"parted at step {parted[between] + 1}, one framework from itself at {soonest + 1}; widest {widest:.2g}"
    compared = f"loss of {STEPS_FREE} free steps, float32, beside one framework against itself"
    lists = {name: curve.tolist() for name, curve in curves.items()}
    return Rung(10, compared, widths[between], None, holds, where, CAUSES[10], lists)


def _trajectory(side: TorchSide | KerasSide, batches: Sequence[Batch], draw: int | None = None) -> NDArray[np.float64]:
    """The losses of a free training from the initial weights, or from one ulp beside them."""
    side.reset()
    if draw is not None:
        side.load(_one_ulp_off(side.weights(), draw))
    return np.array([side.step(batches[step % len(batches)]) for step in range(STEPS_FREE)])


def _one_ulp_off(weights: Arrays, seed: int) -> Arrays:
    generator = np.random.default_rng(seed)
    towards = {name: np.where(generator.random(array.shape) < 0.5, -np.inf, np.inf) for name, array in weights.items()}
    return {name: np.nextafter(array, towards[name].astype(array.dtype)) for name, array in weights.items()}
