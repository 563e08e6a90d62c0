"""A cause of a difference, and the lines of Python that fix it."""

from dataclasses import dataclass, field
from typing import Any

from keras_parity.ladder.judge.verdict import StepComparison


@dataclass(frozen=True)
class Setting:
    """One setting that differs between the two sides of a layer or an optimizer.

    Attributes:
        name: PyTorch's name of it.
        ours: PyTorch's value.
        theirs: Keras's value, in PyTorch's terms.
    """

    name: str
    ours: Any
    theirs: Any


@dataclass(frozen=True)
class Fix:
    """A line that was run and improved the verdict.

    Attributes:
        line: Python, to paste.
        left: The outputs with the fix applied, after the first step that still differs, else after the last.
    """

    line: str
    left: StepComparison


@dataclass
class Finding:
    """A cause of a difference.

    Attributes:
        where: PyTorch's name of a layer, a segment between two layers, the optimizer, the loss, ...
        difference: Relative, on equal input.
        what: The cause in words.
        settings: The settings that differ, if known.
        lines: Candidate fixes, the likeliest first; the verdict has yet to try them.
        fixes: The candidates that improved the verdict.
    """

    where: str
    difference: float
    what: str = ""
    settings: list[Setting] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    fixes: list[Fix] = field(default_factory=list)

    @property
    def cause(self) -> object:
        """Equal for findings with the same settings, such as all batch norms of a network."""
        settings = tuple((setting.name, str(setting.ours), str(setting.theirs)) for setting in self.settings)
        return (self.what, settings) if settings else id(self)
