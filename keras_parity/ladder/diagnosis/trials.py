"""Fixes, tried: their very lines are run on the user's own pair, the verdict is asked for again, all is put back."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import keras_parity
from keras_parity.ladder.judge.judge import Judge
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.snapshots import keras_snapshot, snapshot, torch_snapshot
from keras_parity.ladder.judge.verdict import Verdict

NAMES = (
    *("torch_model", "torch_optimizer", "torch_loss", "torch_schedule", "torch_images", "torch_labels"),
    *("keras_model", "keras_optimizer", "keras_loss", "images", "labels", "class_weight"),
)
"""What a line may change or exchange: the arguments of ``check``."""

CLEARLY = 0.3
"""By how much ``badness`` has to fall: the differences are halved."""

QUICK = 5
"""After how many steps a line is rated."""

_KERAS = re.compile(r"\bkeras_(model|optimizer|loss)\b|(?<!torch_)\bimages\b")


@contextmanager
def applied(pair: ModelPair, lines: Sequence[str], report: Any) -> Iterator[None]:
    """Runs lines on a pair, and puts everything back afterwards.

    Args:
        pair: What they change.
        lines: Python, in which the arguments of ``check`` have their names.
        report: What they may call ``report``.
    """
    restores = [torch_snapshot(pair.torch_model, pair.optimizer), keras_snapshot(pair.keras_model), snapshot(pair)]
    try:
        names = {name: getattr(pair, name) for name in NAMES}
        space = names | {
            "kp": keras_parity,
            "report": report,
            "torch": torch,
            "nn": nn,
            "F": F,
            "keras": keras,
            "np": np,
        }
        for line in lines:
            exec(line, space)
        for name in NAMES:
            if space[name] is not names[name]:
                setattr(pair, name, space[name])
                pair.guessed = tuple(guessed for guessed in pair.guessed if guessed != name)
        pair.look_again()
        yield
    finally:
        for restore in reversed(restores):
            restore()


def touches_keras(lines: Sequence[str]) -> bool:
    """Whether Keras's side has to be run again."""
    return any(_KERAS.search(line) for line in lines)


class Trials:
    """Tries lines on top of those that were accepted.

    Args:
        judge: Of the pair as it is given.
        report: What a line may call ``report``.
        verdict: Of the pair as it is.

    Attributes:
        accepted: The lines that make the verdict better together.
    """

    def __init__(self, judge: Judge, report: Any, verdict: Verdict) -> None:
        self.judge, self.report = judge, report
        self.accepted: list[str] = []
        self._precision = "float32" if judge.seen_in_float32 else "float64"
        self.best = badness(self.run([]) or verdict)  # by the limits that the lines are tried with

    def run(self, lines: Sequence[str], most: int | None = None) -> Verdict | None:
        """The verdict with some lines more, after at most so many steps; None where a line fails."""
        every = [*self.accepted, *lines]
        try:
            with applied(self.judge.pair, every, self.report):
                return self.judge.again(touches_keras(every), self._precision, most)
        except Exception:  # of a line that does not fit this pair
            return None

    def rate(self, lines: Sequence[str]) -> float:
        """How bad the verdict is with some lines more, after a few steps; infinite where one of them fails."""
        verdict = self.run(lines, QUICK)
        return badness(verdict) if verdict is not None else float("inf")

    def accept(self, lines: Sequence[str]) -> float | None:
        """Keeps lines that make the verdict better together; gives the difference that is left, else None."""
        verdict = self.run(lines)
        if verdict is None or not badness(verdict) <= max(0.0, self.best - CLEARLY):
            return None
        self.best = badness(verdict)
        self.accepted += lines
        return max(c.difference for c in verdict.comparisons)

    def needs(self, line: str) -> bool:
        """Whether the verdict is worse without one of the accepted lines; one that it does not need is dropped."""
        every = list(self.accepted)
        self.accepted.remove(line)
        verdict = self.run([])
        if verdict is not None and badness(verdict) <= self.best:
            return False
        self.accepted = every
        return True


def badness(verdict: Verdict) -> float:
    """How far a verdict is from "the same": the mean over the comparisons of the orders of magnitude over the limit."""
    over = [min(20.0, max(0.0, float(np.log10(max(c.difference, 1e-300) / c.limit)))) for c in verdict.comparisons]
    return float(np.mean(over)) if over else 20.0
