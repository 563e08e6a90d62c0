"""What is wrong by itself, and what mends it."""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

from dataclasses import dataclass, field

from keras_parity.ladder.settings import Setting

LIMITS = {"float64": 1e-9, "float32": 1e-4}
"""Relative difference over which a layer that was fed the other's tensors counts as wrong, by precision."""


@dataclass(frozen=True)
class Repair:
    """A change that was tried.

    Attributes:
        line: To paste.
        left: The relative difference that is left with it.
    """

    line: str
    left: float


@dataclass(frozen=True)
class Culprit:
    """What is wrong by itself.

    Attributes:
        where: A layer, by PyTorch's name, or what lies between two of them.
        difference: Relative, on equal input.
        what: What was found.
        settings: In which the sides differ, if they are known.
        repairs: Those that were tried and mend it, the simplest first.
    """

    where: str
    difference: float
    what: str = ""
    settings: list[Setting] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
