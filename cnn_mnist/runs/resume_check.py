"""Whether a training that is stopped and resumed goes on as if it had not been; both frameworks' checks call it.

A training is watched: after every step, digests of what may differ. A stop is an exception out of the watch.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cnn_mnist.errors import UserError

RANDOM = "the random state"
"""Told where something else differs; alone it is no harm, since what draws from it would differ."""

Digests = dict[str, str]
Watch = Callable[[int, Mapping[str, Any]], None]
Train = Callable[[Path, Watch], None]
"""Begins a training in an empty folder, or resumes the one that it finds there; calls the watch after every step with
its number, from 1, and with what is compared, by name, causes before their effects."""


class StoppedError(BaseException):
    """Ends a training as a kill would: no ``except Exception`` of a framework holds it."""


class NotResumedError(AssertionError):
    """A training that is resumed goes on otherwise; the text is the report's."""


@dataclass(frozen=True)
class Stop:
    """The outcome of one stop.

    Attributes:
        step: After which the training was stopped.
        at: The first step after it that differs from the training that was never stopped; None where none does.
        differs: What differs there, causes before their effects.
    """

    step: int
    at: int | None = None
    differs: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.at is None:
            return f"stopped after step {self.step}: goes on to the bit"
        return f"stopped after step {self.step}: from step {self.at} on, {', '.join(self.differs)} differ"


@dataclass
class ResumeReport:
    """The outcome of ``check_resume``.

    Attributes:
        steps: How long the training is.
        stops: The outcome of each stop.
    """

    steps: int
    stops: list[Stop] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether every stop goes on to the bit."""
        return all(stop.at is None for stop in self.stops)

    def raise_if_broken(self) -> None:
        """For tests.

        Raises:
            NotResumedError: A stop does not go on to the bit.
        """
        if not self.holds:
            raise NotResumedError(str(self))

    def __str__(self) -> str:
        good = sum(stop.at is None for stop in self.stops)
        lines = [f"{good} of {len(self.stops)} stops in {self.steps} steps go on to the bit"]
        return "\n".join(lines + [str(stop) for stop in self.stops if stop.at is not None])


def check_stops(train: Train, stops: str | Iterable[int]) -> ResumeReport:
    """Trains once straight, then once for each stop, and compares what follows step by step.

    Args:
        train: The training; it is given a new folder for each.
        stops: After which steps; ``"every step"`` for all but the last.

    Raises:
        UserError: There is nothing behind a stop, which would then prove nothing.
    """
    straight = _watched(train)
    report, every = ResumeReport(len(straight)), range(1, len(straight))
    wanted: list[Any] = list(every) if stops == "every step" else list(stops)
    if not wanted or not set(wanted) <= set(every):
        raise UserError(
            f'expected stops="every step", or steps from 1 to {len(straight) - 1} of {len(straight)}, got {stops!r}'
        )
    for stop in wanted:
        resumed = _watched(train, stop)
        report.stops.append(_compared(stop, straight, resumed))
    return report


def _watched(train: Train, stop: int | None = None) -> dict[int, Digests]:
    """What the steps of a training gave, of one that is stopped only those after it was resumed."""
    seen: dict[int, Digests] = {}

    def watch(step: int, values: Mapping[str, Any]) -> None:
        seen[step] = {name: digest(value) for name, value in values.items()}
        if stop is not None and step == stop and not stopped:
            raise StoppedError

    stopped: list[bool] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            train(Path(folder), watch)
        except StoppedError:
            stopped.append(True)
            seen.clear()
            train(Path(folder), watch)
    return seen


def _compared(stop: int, straight: Mapping[int, Digests], resumed: Mapping[int, Digests]) -> Stop:
    for step in sorted(straight.keys() | resumed.keys()):
        if step <= stop and step not in resumed:
            continue
        one, other = straight.get(step), resumed.get(step)
        if one is None or other is None:
            return Stop(stop, step, (f"the number of steps, {max(resumed, default=stop)} for {max(straight)},",))
        differs = tuple(name for name in one if one[name] != other.get(name))
        if set(differs) - {RANDOM}:
            return Stop(stop, step, differs)
    return Stop(stop)


def digest(value: Any) -> str:
    """Of arrays and tensors, numbers and texts, and nests of them: equal for what is equal to the bit."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, Mapping):
            for key in value:
                found.update(repr(key).encode())
                add(value[key])
        elif isinstance(value, list | tuple):
            found.update(str(len(value)).encode())
            for one in value:
                add(one)
        elif hasattr(value, "__array__"):
            array = np.asarray(value)
            found.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
        else:
            found.update(repr(value).encode())

    add(value)
    return found.hexdigest()
