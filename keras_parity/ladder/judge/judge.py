"""Runs two models side by side, and gives the verdict."""

from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from keras_parity.ladder.judge.keras_runner import KerasRunner
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import distance
from keras_parity.ladder.judge.notes import say_evened, say_motion, say_unexercised
from keras_parity.ladder.judge.probe import PROBED
from keras_parity.ladder.judge.runs import DEFAULT_STEPS, DRAWS, Runner, Runs, Sides, StepError, Trajectory, one_line
from keras_parity.ladder.judge.torch_runner import TorchRunner
from keras_parity.ladder.judge.verdict import CEILING, StepComparison, Verdict

FACTOR = 8
"""How far two frameworks may be apart, in units of what one is from itself with its numbers one ulp away."""

FLOORS = {"float32": (2e-6, 2e-6), "float64": (2e-7, 1e-6)}
"""Relative difference that counts as none, before and after training: Keras rounds constants, PyTorch adds some."""

LARGEST = 30_000_000
"""Parameters up to which float64 is computed, too."""


@dataclass
class _Functions:
    """A comparison, the outputs of both sides that it is of, and Keras's side, which may be a copy."""

    comparison: StepComparison
    outputs: list[list[NDArray]]
    keras: KerasRunner | None = None


class Judge:
    """Runs a pair and compares; again, with less, where a fix was tried on it.

    Args:
        pair: The two models and what comes with them.
        steps: How many steps the trainings take; None for 50 or as many as fit into some seconds.

    Attributes:
        steps: After which steps of the trainings the outputs are compared.
        seen_in_float32: Whether float32 shows a difference, too.
    """

    def __init__(self, pair: ModelPair, steps: int | None = None) -> None:
        self.pair, self.asked, self.runs = pair, steps, Runs(pair)
        self._limits: dict[tuple[str, int], float] = {}
        self._keras: dict[str, Trajectory] = {}
        self.steps: list[int] = []
        self.seen_in_float32 = False

    def verdict(self) -> Verdict:
        """Compares the two in full."""
        pair, verdict = self.pair, Verdict(notes=[*filter(None, [self.pair.optimizers]), *self.pair.notes])
        if pair.unlike:
            return Verdict(reason=pair.unlike)
        with ExitStack() as opened:
            sides = self._open(opened, verdict)
            single = self._functions("float32", sides)
            double = self._witness(opened, verdict, sides[0], single)
            verdict.comparisons.append(self._merged(single, double))
            say_unexercised(pair, verdict, single.outputs)
            if verdict.same_function is None:
                verdict.reason = "NaN, or one ulp on the weights, changes the outputs more than can be told apart"
            elif verdict.same_function and any(side.training is None for side in sides):
                verdict.reason = f"the trainings were not compared: {pair.undecided or 'no labels were given'}"
            elif verdict.same_function:
                try:
                    self._trainings(verdict, sides, double.keras if double else None)
                except StepError as error:
                    verdict.reason = str(error)
        return verdict

    def again(self, keras_touched: bool, precision: str, most: int | None = None) -> Verdict:
        """Compares the two once more, by the limits of before; Keras's side runs only where it was touched.

        Args:
            keras_touched: Whether it was.
            precision: In which one to compare.
            most: After how many steps to stop; None for all.
        """
        pair, verdict = self.pair, Verdict()
        steps = [step for step in self.steps if most is None or step <= most]
        with ExitStack() as opened:
            if keras_touched or precision not in self._keras:
                theirs = _copied_runner(pair) if precision == "float64" else pair.keras_runner()
                opened.callback(theirs.restore)
                other = self.runs.follow(theirs, precision, steps if keras_touched else self.steps)
                if not keras_touched:
                    self._keras[precision] = other
            else:
                other = self._keras[precision]
            ours = pair.torch_runner()
            opened.callback(ours.restore)
            ours.dtype = getattr(torch, precision)
            made = self.runs.follow(ours, precision, steps)
            for step in (0, *steps):
                limit = self._limits.get((precision, step), FLOORS[precision][step > 0])
                apart = self._apart(made[step], other[step])
                verdict.comparisons.append(StepComparison(step, apart, limit, precision, apart <= limit))
        return verdict

    def _open(self, opened: ExitStack, verdict: Verdict) -> Sides:
        ours = self.pair.torch_runner()
        opened.callback(ours.restore)
        theirs = self.pair.keras_runner()
        opened.callback(theirs.restore)
        say_evened(verdict, ours, theirs, self.pair.layouts)
        return ours, theirs

    def _functions(self, precision: str, sides: Sides) -> _Functions:
        """Both functions before training, each also one ulp away."""
        made = [self.runs.draws(side, precision) for side in sides]
        found = self._compared(0, precision, made)
        found.keras = sides[1]
        return found

    def _apart(self, ours: list[NDArray], theirs: list[NDArray]) -> float:
        layouts = self.pair.layouts
        return distance(ours, theirs, layouts * (len(ours) // len(layouts)) if layouts else None)

    def _compared(self, step: int, precision: str, made: list[list[list[NDArray]]]) -> _Functions:
        """The first run of each side beside the other's; the others of each tell its noise."""
        noise = max(distance(runs[0], other) for runs in made for other in runs[1:])
        limit = max(FLOORS[precision][step > 0], FACTOR * noise)
        apart = self._apart(made[0][0], made[1][0])
        self._limits[precision, step] = limit
        alike = len({any(np.isnan(array).any() for array in runs[0]) for runs in made}) == 1  # or one alone gives NaN
        same = (apart <= limit if noise <= CEILING else None) if alike else False
        return _Functions(StepComparison(step, apart, limit, precision, same), [runs[0] for runs in made])

    def _witness(self, opened: ExitStack, verdict: Verdict, ours: TorchRunner, single: _Functions) -> _Functions | None:
        """The same in float64, where both sides have a faithful copy."""
        if (count := sum(p.numel() for p in self.pair.torch_model.parameters())) > LARGEST:
            verdict.notes.append(f"float32 alone: {count:,} parameters are more than {LARGEST:,}")
            return None
        try:
            theirs = _copied_runner(self.pair)
            opened.callback(theirs.restore)
            ours.dtype = torch.float64
            found = self._functions("float64", (ours, theirs))
        except Exception as error:  # of what only float32 can compute
            verdict.notes.append(f"float32 alone, as float64 fails with {one_line(error)}")
            return None
        finally:
            ours.dtype = torch.float32
            ours.reset()
        return found if self._faithful(0, verdict, single, found) else None

    def _faithful(self, step: int, verdict: Verdict, single: _Functions, double: _Functions) -> bool:
        for side, one, other in zip(("PyTorch", "Keras"), single.outputs, double.outputs, strict=True):
            if not (off := distance(one, other)) <= self._limits["float32", step]:
                text = f"a copy of {side}'s in float64 is {off:.1e} off"
                verdict.notes.append(f"float32 alone after {step} steps: {text}")
                return False
        return True

    def _merged(self, single: _Functions, double: _Functions | None) -> StepComparison:
        self.seen_in_float32 |= single.comparison.same is False
        return single.comparison if double is None else double.comparison

    def _trainings(self, verdict: Verdict, sides: Sides, copied: KerasRunner | None) -> None:
        self.steps, seconds = self.runs.affordable(self.asked, sides, copied is not None)
        if (last := self.steps[-1]) < (self.asked or DEFAULT_STEPS):
            verdict.notes.append(f"compared up to step {last}: a step takes {seconds:.1f} s; steps= goes further")
        made = {"float32": self._trained(sides, "float32")}
        self._look_for_state(sides, made["float32"])
        if copied is not None:
            try:
                made["float64"] = self._trained((sides[0], copied), "float64")
            except StepError as error:  # a constant in float32, say, of the user's loss
                verdict.notes.append(f"float32 alone in training: in float64 {error}")
        for step in self.steps:
            single, *more = (
                self._compared(step, precision, [[run[step] for run in runs] for runs in each])
                for precision, each in made.items()
            )
            drowned = single.comparison.limit > FACTOR * CEILING
            if more and not (drowned or self._faithful(step, verdict, single, more[0])):
                del made["float64"], more[:]
            verdict.comparisons.append(self._merged(single, more[0] if more else None))
        say_motion(verdict, [runs[0] for runs in made["float32"]])

    def _trained(self, sides: Sides, precision: str) -> list[list[Trajectory]]:
        """Both trainings, each also from one ulp away."""
        sides[0].dtype = getattr(torch, precision)
        try:
            made = [[self.runs.follow(s, precision, self.steps, seed) for seed in (None, *range(DRAWS))] for s in sides]
        finally:
            sides[0].dtype = torch.float32
        self._keras[precision] = made[1][0]
        return made

    def _look_for_state(self, sides: Sides, made: list[list[Trajectory]]) -> None:
        """A training that is run again from the same state has to give the same."""
        for place, runs in enumerate(made):
            side: Runner = sides[place]
            side.reset()
            self.runs.step(side, 0)
            off = distance(runs[0][1], self.runs.outputs(side, self.pair.inputs(side.framework), PROBED))
            side.reset()
            if not off <= FLOORS["float32"][1]:
                own = self.pair.torch_step is not None and side.framework == "PyTorch"
                raise StepError(
                    f"{side.framework}'s first step, run again from the same weights, gives something else "
                    f"({off:.1e}): it draws random numbers, or has state that cannot be put back"
                    + "; give torch_optimizer= as well as torch_step="
                    * own
                )


def _copied_runner(pair: ModelPair) -> KerasRunner:
    from keras_parity.ladder.judge.in_float64 import copied_runner  # here, since it imports this project's twin

    return copied_runner(pair)
