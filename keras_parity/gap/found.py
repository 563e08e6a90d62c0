"""What was found about a gap between two trainings."""

from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from cnn_mnist.console.tables import print_table, print_text

CLOSED = 0.25
"""Part of the gap that may be left where a swap is said to close it."""


@dataclass(frozen=True)
class Swap:
    """One training with one thing of the other's.

    Attributes:
        part: What was swapped, such as ``"optimizer"``.
        change: From what to what.
        figure: What the training came to.
        left: What is left of the gap: the other run's figure minus this one.
    """

    part: str
    change: str
    figure: float
    left: float


@dataclass(frozen=True)
class Gap:
    """Why two trainings come to different figures; ``print`` it.

    Attributes:
        tag: The figure, a tag of the contract.
        first: The run that was trained anew with the other's settings, one at a time.
        second: The other.
        figures: Theirs, in this order.
        swaps: What was tried, in the order of a training.
        chance: How far other seeds moved the first run's figure, at most.
    """

    tag: str
    first: Path
    second: Path
    figures: tuple[float, float]
    swaps: tuple[Swap, ...]
    chance: float

    @property
    def size(self) -> float:
        """The second figure minus the first."""
        return self.figures[1] - self.figures[0]

    @property
    def closed_by(self) -> list[str]:
        """The parts each of which closes a gap that is more than chance, by itself."""
        if abs(self.size) <= self.chance:
            return []
        return [swap.part for swap in self.swaps if abs(swap.left) <= max(CLOSED * abs(self.size), self.chance)]

    @property
    def verdict(self) -> str:
        """One sentence."""
        if not self.swaps:
            return "The two have the same settings and seed: what is left is rounding, and the machine."
        if abs(self.size) <= self.chance:
            return f"No more than chance: another seed moves {self.tag} by up to {self.chance:.4f}."
        if self.closed_by:
            return f"Closed by one part alone: {', '.join(self.closed_by)}."
        nearest = min(self.swaps, key=lambda swap: abs(swap.left))
        return f"Closed by no part alone; {nearest.part} comes nearest."

    def __str__(self) -> str:
        out = StringIO()
        print_text(f"{self.tag}: {self.figures[0]:.4f} in {self.first}, {self.figures[1]:.4f} in {self.second}", out)
        swaps = (Swap("nothing", "", self.figures[0], self.size), *self.swaps)
        rows = [(swap.part, swap.change, f"{swap.figure:.4f}", f"{swap.left:+.4f}") for swap in swaps]
        print_table([("swapped", "change", self.tag, "left"), *rows], file=out)
        print_text(self.verdict, out)
        return out.getvalue().rstrip()
