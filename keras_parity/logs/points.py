"""The points of a scalar."""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_POINTS, MOST_TAGS = 2**25, 100_000
"""Limits for a log, of 2 GB of memory; a file can hold a point in 10 bytes."""


class TooManyError(Exception):
    """A log has more points or tags than the limits."""


class Point(NamedTuple):
    """One value of a scalar.

    Attributes:
        step: As written; in this project the number of optimizer updates done so far.
        wall_time: Seconds since 1970.
        value: As written, widened to float.
    """

    step: int
    wall_time: float
    value: float


@dataclass(repr=False)
class Points(Sequence[Point]):
    """The points of a tag, in the order in which they were written.

    Each takes 24 bytes, where a tuple takes 150: a log of 300 MB has millions.
    """

    _numbers: "array[float]" = field(default_factory=lambda: array("d"))  # three of each point

    def __len__(self) -> int:
        return len(self._numbers) // 3

    def __getitem__(self, place: Any) -> Any:  # one by one; no slices
        start = 3 * range(len(self))[place]
        step, wall_time, value = self._numbers[start : start + 3]
        return Point(int(step), wall_time, value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.float64]:
        """Step, wall time and value of each point [n, 3]."""
        return np.array(self._numbers).reshape(-1, 3)

    def add(self, point: Point) -> None:
        """Appends a point."""
        self._numbers.extend(point)

    def purge(self, step: int) -> None:
        """Removes the points from a step on."""
        self._numbers = self._those(np.asarray(self)[:, 0] < step)._numbers

    def ascending(self) -> "Points":
        """The points, one per step: where steps go back, later points replace earlier ones from that step on."""
        steps = np.append(np.asarray(self)[:, 0], np.inf)
        return self._those(steps[:-1] < np.minimum.accumulate(steps[:0:-1])[::-1])

    def _those(self, kept: NDArray[np.bool_]) -> "Points":
        return self if kept.all() else Points(array("d", np.asarray(self)[kept].tobytes()))


class Collected(dict[str, Points]):
    """The points of each tag, within the limits."""

    _count = 0

    def add(self, tag: str, point: Point) -> None:
        """Appends a point.

        Raises:
            TooManyError: The point, or its tag, is over the limit.
        """
        if tag not in self:
            if len(self) >= MOST_TAGS:
                raise TooManyError(f"has more than {MOST_TAGS:,} tags and was read up to there")
            self[tag] = Points()
        self._count += 1
        if self._count > MOST_POINTS:
            raise TooManyError(f"has more than {MOST_POINTS:,} points and was read up to there")
        self[tag].add(point)
