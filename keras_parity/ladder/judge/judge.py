"""Runs two models, measures their noise and decides the verdict."""

from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from keras_parity.ladder.judge.keras_runner import KerasRunner
from keras_parity.ladder.judge.measures import FACTOR, FAR, FLOORS, PERTURBED, Measure, compare_runs, largest
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import distance, leaves
from keras_parity.ladder.judge.notes import note_adjustments, note_movement, note_untested
from keras_parity.ladder.judge.runs import Runs, Sides, StepError, Trajectory, copied_runner, one_line
from keras_parity.ladder.judge.torch_runner import TorchRunner
from keras_parity.ladder.judge.verdict import CEILING, StepComparison, Verdict

JUMP_DRAWS = 8
"""Maximum runs of each side from ``FACTOR`` ulps away: all 16 miss a jump of probability 0.3 once in 300."""

NEAR = 1000
"""Multiple of the limit up to which a difference may come from rounding that makes a gradient jump."""

LARGEST = 30_000_000
"""Parameters up to which float64 is computed too."""


class _Compared(NamedTuple):
    """A comparison, and the outputs of both sides."""

    comparison: StepComparison
    outputs: list[list[NDArray]]


class Judge:
    """Runs a pair and compares it; afterwards rejudges it cheaply for each fix under trial.

    Args:
        pair: The models and their data.
        steps: Training steps; None for 50, or as many as fit into about 45 seconds.

    Attributes:
        steps: The training steps after which outputs are compared.
        seen_in_float32: Whether float32 shows a difference too.
    """

    def __init__(self, pair: ModelPair, steps: int | None = None) -> None:
        self.pair, self.requested_steps, self.runs = pair, steps, Runs(pair)
        self._measures: dict[tuple[str, int], list[Measure]] = {}
        self._keras: dict[str, Trajectory] = {}
        self.steps: list[int] = []
        self.seen_in_float32 = False

    def verdict(self) -> Verdict:
        """Compares the two in full."""
        pair, verdict = self.pair, Verdict(notes=[*filter(None, [self.pair.optimizer_note]), *self.pair.notes])
        if reason := pair.output_mismatch or pair.random:
            return Verdict(reason=reason)
        with ExitStack() as opened:
            torch_runner = pair.torch_runner()
            opened.callback(torch_runner.restore)
            keras_runner = pair.keras_runner()
            opened.callback(keras_runner.restore)
            sides = torch_runner, keras_runner
            note_adjustments(verdict, *sides, pair.layouts)
            single = self._functions("float32", sides)
            verdict.reason = self.runs.why_random(
                sides, single.outputs, self._measures["float32", 0][0].limit / (4 * FACTOR)
            )
            if verdict.reason:
                return verdict
            double, copied = self._witness(opened, verdict, torch_runner, single)
            verdict.comparisons.append(self._merged(single, double))
            note_untested(pair, verdict, single.outputs)
            if verdict.same_function is None:
                inputs = [*leaves(pair.images), *leaves(pair.torch_images)]
                verdict.reason = f"NaN in the outputs, or one ulp on the weights changes them by over {CEILING:.0%}"
                if any(array.dtype.kind == "f" and np.isnan(array).any() for array in inputs):
                    verdict.reason = "NaN in the inputs"
            elif verdict.same_function and any(side.training is None for side in sides):
                verdict.reason = f"the trainings were not compared: {pair.undecided or 'no labels were given'}"
            elif verdict.same_function:
                try:
                    self._trainings(verdict, sides, copied)
                except StepError as error:
                    verdict.reason = str(error)
        return verdict

    def rejudge(self, keras_touched: bool, precision: str, last: int | None = None) -> Verdict:
        """Compares the two again within the limits of ``verdict``.

        Args:
            keras_touched: Whether a fix changes Keras's side; if not, its earlier run is used.
            precision: ``"float32"`` or ``"float64"``.
            last: The last step to compare; None for all.
        """
        pair, verdict = self.pair, Verdict()
        steps = [step for step in self.steps if last is None or step <= last]
        with ExitStack() as opened:
            if keras_touched or precision not in self._keras:
                keras_runner = copied_runner(pair) if precision == "float64" else pair.keras_runner()
                opened.callback(keras_runner.restore)
                from_keras = self.runs.train(keras_runner, precision, steps if keras_touched else self.steps)
                if not keras_touched:
                    self._keras[precision] = from_keras
            else:
                from_keras = self._keras[precision]
            torch_runner = pair.torch_runner()
            opened.callback(torch_runner.restore)
            torch_runner.dtype = getattr(torch, precision)
            from_torch = self.runs.train(torch_runner, precision, steps)
            for step in (0, *steps):
                known = self._measures.get((precision, step), [Measure(distance, FLOORS[precision][step > 0])])
                difference, limit = largest(known, from_torch[step], from_keras[step])
                verdict.comparisons.append(StepComparison(step, difference, limit, precision, difference <= limit))
        return verdict

    def _functions(self, precision: str, sides: Sides) -> _Compared:
        """Compares both functions before training; in float32 always with noise, which float64 copies are held to."""
        both = [self.runs.initial_outputs(side, precision, [None]) for side in sides]
        if precision == "float32" or not self._compared(0, precision, both).comparison.same:
            noise = [self.runs.initial_outputs(side, precision, PERTURBED) for side in sides]
            both = [runs + more for runs, more in zip(both, noise, strict=True)]
        return self._compared(0, precision, both)

    def _compared(self, step: int, precision: str, both: list[list[list[NDArray]]]) -> _Compared:
        found, self._measures[precision, step] = compare_runs(step, precision, both)
        return _Compared(found, [runs[0] for runs in both])

    def _witness(
        self, opened: ExitStack, verdict: Verdict, torch_runner: TorchRunner, single: _Compared
    ) -> tuple[_Compared, KerasRunner] | tuple[None, None]:
        """Compares both functions in float64, with a copy of Keras's; None if a side has no faithful copy."""
        if (count := sum(p.numel() for p in self.pair.torch_model.parameters())) > LARGEST:
            verdict.notes.append(f"compared in float32 only: {count:,} parameters, float64 takes at most {LARGEST:,}")
            return None, None
        try:
            copied = copied_runner(self.pair)
            opened.callback(copied.restore)
            torch_runner.dtype = torch.float64
            found = self._functions("float64", (torch_runner, copied))
        except Exception as error:  # raised by an operation without float64
            verdict.notes.append(f"compared in float32 only: float64 fails with {one_line(error)}")
            return None, None
        finally:
            torch_runner.dtype = torch.float32
            torch_runner.reset()
        return (found, copied) if self._faithful(0, verdict, single, found) else (None, None)

    def _faithful(self, step: int, verdict: Verdict, single: _Compared, double: _Compared) -> bool:
        for side, original, copied in zip(("PyTorch", "Keras"), single.outputs, double.outputs, strict=True):
            if not (error := distance(original, copied)) <= self._measures["float32", step][0].limit:
                text = f"{side}'s float64 copy differs from its original by {error:.1e}"
                verdict.notes.append(f"compared in float32 only from step {step}: {text}")
                return False
        return True

    def _merged(self, single: _Compared, double: _Compared | None) -> StepComparison:
        self.seen_in_float32 |= single.comparison.same is False
        return single.comparison if double is None else double.comparison

    def _trainings(self, verdict: Verdict, sides: Sides, copied: KerasRunner | None) -> None:
        self.steps, note = self.runs.choose_steps(self.requested_steps, sides, copied is not None)
        verdict.notes += filter(None, [note])
        trained = {"float32": self.runs.train_both(sides, "float32", self.steps, [None])}
        self.runs.check_repeatable(sides, trained["float32"], self._measures["float32", 0][0].limit)
        if copied is not None and not self._is_settled(trained):
            try:
                in_float64 = {"float64": self.runs.train_both((sides[0], copied), "float64", self.steps, [None])}
                self._add_noise((sides[0], copied), "float64", in_float64)
                trained |= in_float64
            except StepError as error:  # for example a float32 constant in the user's loss
                verdict.notes.append(f"training compared in float32 only: in float64, {error}")
        self._add_noise(sides, "float32", trained)
        self._keras |= {precision: both[1][0] for precision, both in trained.items()}
        for step in self.steps:
            single, *double = self._at(step, trained)
            while self._may_be_a_jump(single, double) and len(trained["float32"][0]) < FAR + JUMP_DRAWS:
                for place, runs in enumerate(trained["float32"]):
                    runs.append(self.runs.train(sides[place], "float32", self.steps, len(runs), FACTOR))
                single, *double = self._at(step, trained)
            drowned = single.comparison.limit > FACTOR * CEILING
            if double and not (drowned or self._faithful(step, verdict, single, double[0])):
                del trained["float64"], double[:]
            verdict.comparisons.append(self._merged(single, double[0] if double else None))
        note_movement(verdict, [runs[0] for runs in trained["float32"]], self._measures)

    def _add_noise(self, sides: Sides, precision: str, trained: dict[str, list[list[Trajectory]]]) -> None:
        """Trains both sides from one ulp away, as often as it can change the verdict: noise only raises the limits."""
        for seed in PERTURBED:
            if not self._is_settled(trained):
                perturbed = self.runs.train_both(sides, precision, self.steps, [seed])
                trained[precision] = [runs + more for runs, more in zip(trained[precision], perturbed, strict=True)]

    def _is_settled(self, trained: dict[str, list[list[Trajectory]]]) -> bool:
        """Whether the frameworks agree at all steps, within narrow limits, and each copy with its original."""
        for step in self.steps:
            first, *others = self._at(step, trained)
            limit = self._measures[next(iter(trained)), step][0].limit
            errors = [distance(*pair) for other in others for pair in zip(first.outputs, other.outputs, strict=True)]
            found = [each.comparison for each in (first, *others)]
            if not all(each.same and each.limit <= CEILING for each in found) or max(errors, default=0.0) > limit:
                return False
        return True

    def _at(self, step: int, trained: dict[str, list[list[Trajectory]]]) -> list[_Compared]:
        both = {precision: [[run[step] for run in runs] for runs in each] for precision, each in trained.items()}
        return [self._compared(step, precision, each) for precision, each in both.items()]

    def _may_be_a_jump(self, single: _Compared, double: list[_Compared]) -> bool:
        """Whether rounding may have made a gradient jump, at the kink of a ReLU, say, which one ulp may not show."""
        comparison = single.comparison
        near = comparison.same is False and comparison.difference <= NEAR * comparison.limit
        return near and all(other.comparison.same is not False for other in double)
