"""What is said about two models as functions: the four words, and the comparisons behind them."""

import math
from dataclasses import dataclass, field

CEILING = 1e-2
"""Relative noise from which nothing more can be told."""


@dataclass(frozen=True)
class StepComparison:
    """Both functions after a number of training steps.

    Attributes:
        step: The steps before it.
        difference: Relative, of the whole outputs.
        limit: What it may be.
        precision: ``"float32"``, as the user runs them, or ``"float64"``, which hides less.
        same: Whether they are the same; None where the noise is too wide to tell.
    """

    step: int
    difference: float
    limit: float
    precision: str
    same: bool | None


@dataclass
class Verdict:
    """What was found out about two models as functions.

    Attributes:
        comparisons: Before training, and after some numbers of steps.
        reason: Why it is not decided; empty where it is.
        notes: What was evened out, and what was not exercised.
    """

    comparisons: list[StepComparison] = field(default_factory=list)
    reason: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def same_function(self) -> bool | None:
        """Whether the outputs before training are the same; None where that could not be told."""
        return self.comparisons[0].same if self.comparisons else None

    @property
    def differs_from(self) -> int | None:
        """The first step behind which the outputs differ; None where there is none."""
        return next((c.step for c in self.comparisons[1:] if c.same is False), None) if self.same_function else None

    @property
    def same_training(self) -> bool | None:
        """Whether the outputs stay the same in training; None where it was not compared or could not be told."""
        if self.differs_from is not None:
            return False
        told = [c for c in self.comparisons[1:] if c.same is not None]
        return True if self.same_function and told and not self.reason else None

    @property
    def text(self) -> str:
        """One sentence, which begins with one of the four words."""
        if self.same_function is False:
            first = self.comparisons[0]
            size = "" if math.isinf(first.difference) else f", apart by {first.difference:.1e}"
            return f"not the same function: the outputs differ before training{size}" + (
                f"; {self.reason}" if self.reason else ""
            )
        if self.differs_from is not None:
            found = next(c for c in self.comparisons if c.step == self.differs_from)
            return (
                f"same function, training differs from step {found.step}: apart by {found.difference:.1e} "
                f"where {found.limit:.1e} is rounding"
            )
        if self.same_training:
            last = [c for c in self.comparisons if c.same][-1]
            steps = f"{last.step} step{'s' * (last.step > 1)}"
            return f"same function, same training: after {steps} apart by {last.difference:.1e}"
        begin = "not decided: the same function, but " if self.same_function else "not decided: "
        return begin + (self.reason or "nothing was compared")

    def __str__(self) -> str:
        return self.text
