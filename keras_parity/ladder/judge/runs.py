"""What is run of both sides: outputs, and trainings step by step, also from one ulp beside the user's weights."""

import time
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.judge.keras_runner import KerasRunner
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import cut, nudged
from keras_parity.ladder.judge.probe import PROBED
from keras_parity.ladder.judge.torch_runner import TorchRunner

SAMPLES = 1024
"""How many they are compared on before training."""

DRAWS = 2
"""How often each side is run again one ulp away."""

HALF_ULP = 2.0**-25
"""The part by which numbers are moved in float64: half a unit of float32's last place."""

DEFAULT_STEPS = 50
SECONDS = 45
"""How long the trainings may take, about, where the user gives no number of steps."""

Runner: TypeAlias = TorchRunner | KerasRunner
Sides: TypeAlias = tuple[TorchRunner, KerasRunner]
Trajectory: TypeAlias = dict[int, list[NDArray]]
"""The outputs in inference mode, by the number of steps before them."""


class StepError(Exception):
    """A step of the user's training fails, or is another one each time."""


class Runs:
    """Runs both sides of a pair.

    Args:
        pair: The two models and what comes with them.
    """

    def __init__(self, pair: ModelPair) -> None:
        self.pair = pair

    def outputs(self, side: Runner, inputs: Any, most: int = SAMPLES) -> list[NDArray]:
        """The outputs of at most so many samples, in parts."""
        count, size = min(self.pair.count, most), min(self.pair.count, PROBED)
        starts = [*range(0, count - size, size), count - size]  # all of one size, which is traced once
        return [array for s in starts for array in side.outputs(cut(inputs, s, s + size), self.pair.form)]

    def draws(self, side: Runner, precision: str) -> list[list[NDArray]]:
        """The outputs before training, as they are and one ulp away."""
        inputs = self.pair.inputs(side.framework)
        side.reset()
        runs = [self.outputs(side, inputs)]
        for seed in range(DRAWS):
            random = np.random.default_rng(seed)
            side.reset()
            side.nudge(random, None if precision == "float32" else HALF_ULP)
            runs.append(self.outputs(side, nudged(inputs, random, HALF_ULP)))
        side.reset()
        return runs

    def follow(self, side: Runner, precision: str, steps: Sequence[int], seed: int | None = None) -> Trajectory:
        """The outputs of one training, from the user's weights or one ulp beside them."""
        inputs = given = self.pair.inputs(side.framework)
        side.reset()
        if seed is not None:
            random = np.random.default_rng(seed)
            side.nudge(random, None if precision == "float32" else HALF_ULP)
            given = nudged(inputs, random, HALF_ULP)
        made = {0: self.outputs(side, given, PROBED)}
        for step in range(max(steps, default=0)):
            self.step(side, step, given)
            if step + 1 in steps:
                made[step + 1] = self.outputs(side, inputs, PROBED)
        side.reset()
        return made

    def step(self, side: Runner, step: int, inputs: Any = None) -> None:
        """One step of a side's own training.

        Raises:
            StepError: It fails.
        """
        try:
            side.step(*self.pair.batch(side.framework, step, inputs))
        except Exception as error:  # of the user's own training
            raise StepError(f"{side.framework}'s training step fails with {one_line(error)}") from None

    def affordable(self, given: int | None, sides: Sides, double: bool) -> tuple[list[int], float]:
        """After which steps to compare: 1, 5, 20 and the last, as far as there is time; and the seconds of a step."""
        asked, seconds = given or DEFAULT_STEPS, 0.0
        for side in sides:
            side.reset()
            self.step(side, 0)
            began = time.perf_counter()
            self.step(side, 1)
            seconds += time.perf_counter() - began
            side.reset()
        fits = int(SECONDS / (seconds * (1 + DRAWS) * (3 if double else 1)))
        most = asked if given is not None else max(1, min(asked, fits))
        return sorted({step for step in (1, 5, 20, asked) if step <= most}), seconds


def one_line(error: Exception) -> str:
    """An error of somebody else's code, for a sentence."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
