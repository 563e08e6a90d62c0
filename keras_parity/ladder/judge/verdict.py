"""The verdict on two models: one of four answers, and the comparisons behind it."""

import math
from dataclasses import dataclass, field

CEILING = 1e-2
"""Relative noise above which a comparison decides nothing."""


@dataclass(frozen=True)
class StepComparison:
    """Both models' outputs after some training steps.

    Attributes:
        step: Training steps taken.
        difference: Relative to the largest output, or to the largest of those far smaller than it.
        limit: The largest difference that counts as equal.
        precision: ``"float32"``, as the user runs the models, or ``"float64"``, which is sharper.
        same: Whether the difference is within the limit; None if the noise is above ``CEILING``, unless they agree
            within the smallest limit.
    """

    step: int
    difference: float
    limit: float
    precision: str
    same: bool | None

    @property
    def when(self) -> str:
        """The step in words."""
        return f"after {self.step} step{'s' * (self.step > 1)}" if self.step else "before training"


@dataclass
class Verdict:
    """The verdict on two models.

    Attributes:
        comparisons: Before training, then after some steps.
        reason: Why nothing was decided; empty otherwise.
        notes: Adjustments, assumptions and gaps, one line each.
    """

    comparisons: list[StepComparison] = field(default_factory=list)
    reason: str = ""
    notes: list[str] = field(default_factory=list)

    @property
    def same_function(self) -> bool | None:
        """Whether the outputs before training agree; None if undecided."""
        return self.comparisons[0].same if self.comparisons else None

    @property
    def differs_from(self) -> int | None:
        """The first compared step after which the outputs differ; None if they never do."""
        return next((c.step for c in self.comparisons[1:] if c.same is False), None) if self.same_function else None

    @property
    def same_training(self) -> bool | None:
        """Whether the outputs agree at every decided step; None if not compared or undecided."""
        if self.differs_from is not None:
            return False
        decided = any(c.same is not None for c in self.comparisons[1:])
        return True if self.same_function and decided and not self.reason else None

    @property
    def text(self) -> str:
        """One sentence that starts with one of the four answers."""
        if self.same_function is False:
            difference = self.comparisons[0].difference
            size = "" if math.isinf(difference) else f" by {difference:.1e}"
            more = f"; {self.reason}" if self.reason else ""
            return f"not the same function: the outputs differ{size} before training{more}"
        if self.differs_from is not None:
            found = next(c for c in self.comparisons if c.step == self.differs_from)
            return (
                f"same function, training differs from step {found.step}: the outputs differ by "
                f"{found.difference:.1e}, rounding explains {found.limit:.1e}"
            )
        if self.same_training:
            last = [c for c in self.comparisons if c.same][-1]
            return f"same function, same training: the outputs differ by {last.difference:.1e} {last.when}"
        start = "not decided: same function, but " if self.same_function else "not decided: "
        return start + (self.reason or "nothing was compared")

    def __str__(self) -> str:
        return self.text
