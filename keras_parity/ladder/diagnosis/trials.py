"""Tries fixes: runs their lines on the user's own pair, asks for the verdict again, and restores everything."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

import keras_parity
from keras_parity.ladder.diagnosis.paths import MODULES
from keras_parity.ladder.judge.judge import Judge
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.probe import inspect_outputs
from keras_parity.ladder.judge.snapshots import keras_snapshot, snapshot, torch_snapshot
from keras_parity.ladder.judge.verdict import StepComparison, Verdict

NAMES = (
    *("torch_model", "torch_optimizer", "torch_loss", "torch_schedule", "torch_images", "torch_labels"),
    *("keras_model", "keras_optimizer", "keras_loss", "images", "labels", "class_weight"),
)
"""The arguments of ``check`` that a line may change or replace."""

MIN_IMPROVEMENT = 0.3
"""The smallest decrease of ``badness`` that counts as an improvement: the differences are halved."""

QUICK_STEPS = 5
"""Steps after which a line is rated."""

_KERAS = re.compile(r"\bkeras_(model|optimizer|loss)\b|(?<!torch_)\bimages\b")


@contextmanager
def applied(pair: ModelPair, lines: Sequence[str], report: Any) -> Iterator[None]:
    """Runs lines on a pair, and restores everything on exit.

    Args:
        pair: The pair to change.
        lines: Python, in terms of ``check``'s arguments.
        report: Available to the lines as ``report``.
    """
    restores = [torch_snapshot(pair.torch_model, pair.optimizer), keras_snapshot(pair.keras_model), snapshot(pair)]
    restores += [snapshot(pair.keras_optimizer)] if pair.keras_optimizer is not None else []
    try:
        names = {name: getattr(pair, name) for name in NAMES}
        space = MODULES | names | {"kp": keras_parity, "report": report}
        for line in lines:
            exec(line, space)
        for name in NAMES:
            if space[name] is not names[name]:
                setattr(pair, name, space[name])
                pair.guessed = tuple(guessed for guessed in pair.guessed if guessed != name)
        if lines:
            inspect_outputs(pair)
        yield
    finally:
        for restore in reversed(restores):
            restore()


def touches_keras(lines: Sequence[str]) -> bool:
    """Whether lines change Keras's side, so that it has to run again."""
    return any(_KERAS.search(line) for line in lines)


class Trials:
    """Tries lines on top of those already accepted.

    Args:
        judge: The judge of the pair.
        report: Available to the lines as ``report``.
        verdict: The verdict without any line.

    Attributes:
        accepted: The lines that improve the verdict together.
        best: ``badness`` with the accepted lines.
    """

    def __init__(self, judge: Judge, report: Any, verdict: Verdict) -> None:
        self.judge, self.report = judge, report
        self.accepted: list[str] = []
        self._precision = "float32" if judge.seen_in_float32 else "float64"
        self.best = badness(self.run([]) or verdict)  # within the limits of the trials

    def run(self, lines: Sequence[str], last: int | None = None) -> Verdict | None:
        """Returns the verdict with further lines, up to the step ``last``; None if a line fails."""
        lines = [*self.accepted, *lines]
        try:
            with applied(self.judge.pair, lines, self.report):
                return self.judge.rejudge(touches_keras(lines), self._precision, last)
        except Exception:  # raised by a line that does not suit this pair
            return None

    def rate(self, lines: Sequence[str]) -> float:
        """Returns ``badness`` with further lines after a few steps; infinite if one of them fails."""
        verdict = self.run(lines, QUICK_STEPS)
        return badness(verdict) if verdict is not None else float("inf")

    def accept(self, lines: Sequence[str]) -> StepComparison | None:
        """Keeps lines if they improve the verdict; returns the first step that still differs, else the last."""
        verdict = self.run(lines)
        if verdict is None or not badness(verdict) <= max(0.0, self.best - MIN_IMPROVEMENT):
            return None
        self.best = badness(verdict)
        self.accepted += lines
        return next((c for c in verdict.comparisons if not c.same), verdict.comparisons[-1])

    def needs(self, line: str) -> bool:
        """Whether the verdict is worse without an accepted line; a line that is not needed is dropped."""
        accepted = list(self.accepted)
        self.accepted.remove(line)
        verdict = self.run([])
        if verdict is not None and badness(verdict) <= self.best:
            return False
        self.accepted = accepted
        return True


def badness(verdict: Verdict) -> float:
    """Returns the mean over the comparisons of the orders of magnitude above the limit; 0 if all are the same."""
    over = [min(20.0, max(0.0, float(np.log10(max(c.difference, 1e-300) / c.limit)))) for c in verdict.comparisons]
    return float(np.mean(over)) if over else 20.0
