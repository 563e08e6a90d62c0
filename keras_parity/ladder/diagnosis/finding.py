"""What is wrong by itself, and the line that mends it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One setting of a layer or an optimizer in which the sides differ.

    Attributes:
        name: PyTorch's name of it.
        ours: PyTorch's value.
        theirs: Keras's value, as PyTorch would be given it.
    """

    name: str
    ours: Any
    theirs: Any


@dataclass(frozen=True)
class Fix:
    """A change that was tried by running its line and asking for the verdict again.

    Attributes:
        line: Python, to paste.
        left: The relative difference of the outputs that is left with it.
    """

    line: str
    left: float


@dataclass
class Finding:
    """What is wrong by itself.

    Attributes:
        where: A layer, by PyTorch's name, what lies between two of them, the optimizer, the loss, ...
        difference: Relative, on equal input.
        what: What was found, in words.
        settings: In which the sides differ, if they are known.
        lines: What may mend it, the likeliest first; each still has to be tried by the verdict.
        fixes: Those that make the verdict better.
    """

    where: str
    difference: float
    what: str = ""
    settings: list[Setting] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    fixes: list[Fix] = field(default_factory=list)
