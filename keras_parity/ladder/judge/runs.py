"""Runs both models: outputs, and trainings step by step, also from weights perturbed by one ulp."""

import time
from collections.abc import Iterable, Sequence
from textwrap import shorten
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from keras_parity.ladder.judge.keras_runner import KerasRunner
from keras_parity.ladder.judge.measures import PERTURBED
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import distance, perturb, slice_samples
from keras_parity.ladder.judge.probe import PROBE_SAMPLES, not_repeatable
from keras_parity.ladder.judge.torch_runner import TorchRunner

SAMPLES = 1024
"""Samples compared before training, at most."""

HALF_ULP = 2.0**-25
"""Relative perturbation of inputs, and of weights in float64: half a unit in the last place of float32."""

REPEATABLE = 2e-6
"""Relative difference of two runs of one step."""

DEFAULT_STEPS = 50
SECONDS = 45
"""Approximate time limit of the trainings if the user sets no number of steps."""

Runner: TypeAlias = TorchRunner | KerasRunner
Sides: TypeAlias = tuple[TorchRunner, KerasRunner]
Trajectory: TypeAlias = dict[int, list[NDArray]]
"""Outputs in inference mode, by the number of training steps before them."""


class StepError(Exception):
    """A training step fails, or is not repeatable."""


class Runs:
    """Runs both sides of a pair. Every run starts from the user's weights; trainings leave theirs.

    Args:
        pair: The models and their data.
    """

    def __init__(self, pair: ModelPair) -> None:
        self.pair = pair

    def outputs(self, side: Runner, inputs: Any, limit: int = SAMPLES) -> list[NDArray]:
        """Returns a side's outputs of the first ``limit`` samples, batch by batch, in Keras's layout."""
        size = self.pair.fixed_batch or min(self.pair.count, PROBE_SAMPLES)
        count = max(size, min(self.pair.count, limit))
        starts = [*range(0, count - size, size), count - size]  # batches of one size are traced once
        structure, layouts = self.pair.keras_structure, self.pair.layouts if side.framework == "PyTorch" else []
        batches = (side.outputs(slice_samples(inputs, start, start + size), structure) for start in starts)
        return [layouts[n].apply(a) if n < len(layouts) else a for batch in batches for n, a in enumerate(batch)]

    def initial_outputs(self, side: Runner, precision: str, seeds: Iterable[int | None]) -> list[list[NDArray]]:
        """Returns a side's outputs before training, once per seed; see ``train``."""
        inputs = self.pair.inputs(side.framework)
        runs = [self.outputs(side, self._start(side, precision, seed, inputs)) for seed in seeds]
        side.reset()
        return runs

    def train(
        self, side: Runner, precision: str, steps: Sequence[int], seed: int | None = None, ulps: int = 1
    ) -> Trajectory:
        """Trains one side from the user's weights.

        Args:
            side: The side.
            precision: ``"float32"`` or ``"float64"``.
            steps: The steps after which to record the outputs.
            seed: Perturbs the start; None trains as is.
            ulps: The size of the perturbation.
        """
        inputs = self.pair.inputs(side.framework)
        fed = self._start(side, precision, seed, inputs, ulps)
        trajectory = {0: self.outputs(side, fed, PROBE_SAMPLES)}
        for step in range(max(steps, default=0)):
            self.step(side, step, fed)
            if step + 1 in steps:
                trajectory[step + 1] = self.outputs(side, inputs, PROBE_SAMPLES)
        return trajectory

    def train_both(
        self, sides: Sides, precision: str, steps: Sequence[int], seeds: Iterable[int | None]
    ) -> list[list[Trajectory]]:
        """Trains both sides, once for each seed; see ``train``."""
        sides[0].dtype = getattr(torch, precision)
        try:
            return [[self.train(side, precision, steps, seed) for seed in seeds] for side in sides]
        finally:
            sides[0].dtype = torch.float32

    def _start(self, side: Runner, precision: str, seed: int | None, inputs: Any, ulps: int = 1) -> Any:
        """Returns a side to the user's weights and, for a seed, perturbs them; returns its inputs, perturbed too."""
        side.reset()
        if seed is None:
            return inputs
        random = np.random.default_rng(seed)
        one_ulp = None if precision == "float32" else HALF_ULP
        side.perturb(random, one_ulp if ulps == 1 else 2 * ulps * HALF_ULP)
        return perturb(inputs, random, ulps * HALF_ULP)

    def why_random(self, sides: Sides, before: list[list[NDArray]], rounding: float) -> str:
        """Says which side's outputs in inference mode differ when computed again; empty if neither's do.

        Args:
            sides: Both sides.
            before: The outputs of each.
            rounding: What threads that add in another order may explain.
        """
        for place, outputs in enumerate(before):
            side: Runner = sides[place]
            side.reset()
            again = self.outputs(side, self.pair.inputs(side.framework))
            side.reset()
            if max(REPEATABLE, rounding) < (error := distance(outputs, again)) < np.inf:  # infinite for NaN
                return not_repeatable(f"{side.framework}'s outputs are", "weights and inputs", error)
        return ""

    def check_repeatable(self, sides: Sides, trained: list[list[Trajectory]], rounding: float) -> None:
        """Checks that a training gives the same result when run again from the same state.

        Args:
            sides: Both sides.
            trained: The runs of each.
            rounding: The difference by rounding before training; threads that reorder additions cause no more.

        Raises:
            StepError: It gives another result.
        """
        for place, runs in enumerate(trained):
            side: Runner = sides[place]
            side.reset()
            self.step(side, 0)
            again = self.outputs(side, self.pair.inputs(side.framework), PROBE_SAMPLES)
            if not (error := distance(runs[0][1], again)) <= max(REPEATABLE, rounding):
                own_step = self.pair.torch_step is not None and side.framework == "PyTorch"
                raise StepError(
                    not_repeatable(f"{side.framework}'s first step is", "weights", error)
                    + "; pass torch_optimizer= as well as torch_step=" * own_step
                )

    def step(self, side: Runner, step: int, inputs: Any = None) -> None:
        """Takes one training step of a side.

        Raises:
            StepError: The step fails.
        """
        try:
            side.step(*self.pair.batch(side.framework, step, inputs))
        except Exception as error:  # raised by the user's own training
            other = side.framework == "PyTorch" and self.pair.torch_labels is self.pair.labels
            advice = "; pass torch_labels= if PyTorch takes other labels than Keras" if other else ""
            raise StepError(f"{side.framework}'s training step fails with {one_line(error)}{advice}") from None

    def choose_steps(self, steps: int | None, sides: Sides, with_float64: bool) -> tuple[list[int], str]:
        """Chooses the steps to compare: 1, 5, 20 and the last, as far as time allows.

        Args:
            steps: The last step; None for ``DEFAULT_STEPS``, or as many as fit into ``SECONDS``.
            sides: Both sides.
            with_float64: Whether to leave time for float64.

        Returns:
            The steps, and a note if they end early; empty otherwise.
        """
        last, seconds = steps or DEFAULT_STEPS, 0.0
        for side in sides:
            side.reset()
            self.step(side, 0)
            start = time.perf_counter()
            self.step(side, 1)
            seconds += time.perf_counter() - start
        affordable = int(SECONDS / (seconds * (1 + len(PERTURBED)) * (3 if with_float64 else 1)))
        limit = last if steps is not None else max(1, min(last, affordable))
        chosen = sorted({step for step in (1, 5, 20, last) if step <= limit})
        note = f"compared up to step {chosen[-1]}: a step takes {seconds:.1f} s; set steps= to go further"
        return chosen, note * (chosen[-1] < last)


def one_line(error: Exception) -> str:
    """Formats an error of the user's code for use in a sentence."""
    return shorten(f"{type(error).__name__}: {error}", 200, placeholder=" ...")


def copied_runner(pair: ModelPair) -> KerasRunner:
    """Makes a runner of a float64 copy of the Keras model and its training."""
    from keras_parity.ladder.judge import in_float64  # deferred: imports this project's twin

    return in_float64.copied_runner(pair)
