"""Reads every point of every scalar from TensorBoard's event files, whoever wrote them.

TensorBoard's own readers thin out the points, and silently stop at damage.
"""

import os
import struct
from array import array
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.util.tensor_util import make_ndarray

from cnn_mnist.runs.recorder import masked_crc

PATTERN = "[!.]*tfevents*"  # hidden files are an operating system's, not logs
OURS = ".compare"
"""Ending of the files that ``compare`` writes."""

_HEADER = struct.Struct("<QI")  # length of the data, masked CRC of these 8 bytes
_CRC = struct.Struct("<I")
_LFS = b"version http"  # the placeholder of a file that Git LFS has not fetched


class Point(NamedTuple):
    """One value of a scalar.

    Attributes:
        step: The step as written; in this project the number of optimizer updates so far.
        wall_time: Seconds since 1970.
        value: The value as written, widened to float64.
    """

    step: int
    wall_time: float
    value: float


@dataclass(repr=False)
class Points(Sequence[Point]):
    """The points of a tag in ascending order, one for each step.

    Each takes 24 bytes; a tuple would take 150, and a log of 300 MB has millions of points.
    """

    _numbers: "array[float]" = field(default_factory=lambda: array("d"))  # three per point

    def __len__(self) -> int:
        return len(self._numbers) // 3

    def __getitem__(self, place: Any) -> Any:  # no slices
        start = 3 * range(len(self))[place]
        step, wall_time, value = self._numbers[start : start + 3]
        return Point(int(step), wall_time, value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.float64]:
        """Step, wall time and value of each point, float64 [n, 3]; numpy uses this instead of the items."""
        return np.array(self._numbers).reshape(-1, 3)

    def add(self, point: Point) -> None:
        """Appends a point.

        If the step is not larger than the last one, the run was restarted from there: later points are replaced.

        Args:
            point: The point.
        """
        while self._numbers and self._numbers[-3] >= point.step:
            del self._numbers[-3:]
        self._numbers.extend(point)


class Scalars(NamedTuple):
    """The scalars of a log.

    Attributes:
        points: The points of each tag.
        keras: Whether Keras or TensorFlow wrote them: they write tensors, PyTorch writes simple values.
        notes: The defects of the files, one line each.
    """

    points: dict[str, Points]
    keras: bool
    notes: list[str]


def read_scalars(folder: str | Path) -> Scalars:
    """Reads the event files in a folder (not below it), oldest first, each up to any damage.

    Args:
        folder: The folder, or one event file.

    Returns:
        The points of all files; damage becomes a note.
    """
    points = defaultdict[str, Points](Points)
    keras, notes = False, list[str]()
    for file in files_in(Path(folder)):
        for event in _read_events(file, notes):
            for value in event.summary.value:
                number = _number(value)
                if number is not None:
                    keras |= value.HasField("tensor")
                    points[value.tag].add(Point(event.step, event.wall_time, number))
    return Scalars(dict(points), keras, notes)


def read_pictures(folder: str | Path) -> dict[str, bytes]:
    """Reads the newest picture of each tag from event files.

    Args:
        folder: The folder, or one event file.

    Returns:
        The bytes of a PNG file for each tag.
    """
    events = (event for file in files_in(Path(folder)) for event in _read_events(file, []))
    return {value.tag: png for event in events for value in event.summary.value if (png := _png(value))}


def files_in(folder: Path) -> list[Path]:
    """The event files in a folder, oldest first; of a file, the file itself."""
    if folder.is_file():
        return [folder]
    return sorted((file for file in folder.glob(PATTERN) if file.is_file()), key=_start)


def _number(value: Summary.Value) -> float | None:
    """The value of a scalar in either encoding; None for anything else."""
    if value.metadata.plugin_data.plugin_name not in ("", "scalars"):  # HParams records look like scalars
        return None
    if value.HasField("simple_value"):
        return value.simple_value
    if len(value.tensor.float_val) == 1 and not value.tensor.tensor_shape.dim:  # as TensorFlow writes them
        return value.tensor.float_val[0]
    try:
        number = make_ndarray(value.tensor)
    except (TypeError, ValueError):  # no tensor, or its content does not fit its shape
        return None
    return float(number.item()) if number.size == 1 and number.dtype.kind in "fiu" else None


def _png(value: Summary.Value) -> bytes:
    """The first picture in either encoding; empty for anything else."""
    if value.metadata.plugin_data.plugin_name == "images":  # width, height, then the pictures, all as strings
        return next(iter(value.tensor.string_val[2:]), b"")
    return value.image.encoded_image_string


def _read_events(path: Path, notes: list[str]) -> Iterator[Event]:
    """The intact events of a file in order; its first defect becomes a note."""
    try:
        with path.open("rb") as file:
            wrong = yield from _good_events(file)
    except OSError as error:
        wrong = f"cannot be read ({error.strerror})"
    if wrong:
        notes.append(f"{path} {wrong}")


def _good_events(file: BinaryIO) -> Generator[Event, None, str]:
    """Yields the intact events; returns the first defect of the file, or an empty string."""
    size, offset = os.fstat(file.fileno()).st_size, 0
    wrong = "" if size else "is empty"
    while offset < size:
        header = file.read(_HEADER.size)
        length, length_crc = _HEADER.unpack(header.ljust(_HEADER.size))
        end = offset + _HEADER.size + length + _CRC.size
        whole = len(header) == _HEADER.size
        if whole and masked_crc(header[:8]) != length_crc:
            if header == _LFS:
                return "is a Git LFS pointer; fetch the file with git lfs pull"
            if offset == 0 and any(header):
                return "is not an event file"
            found = "a record with a bad checksum" if any(header) else "zeros (a power cut?)"
            return wrong or f"has {found} at byte {offset} and was read up to there"
        if not whole or end > size:
            return wrong or f"ends inside a record at byte {offset}"
        content, crc = file.read(length), file.read(_CRC.size)
        if masked_crc(content) == _CRC.unpack(crc)[0]:
            try:
                event = Event.FromString(content)
            except DecodeError:
                return "holds records that are not events"
            yield event
        else:
            wrong = wrong or f"has a record with a bad checksum at byte {offset}, which was skipped"
        offset = end
    return wrong


def _start(path: Path) -> tuple[float, str]:
    """When a file was started, from its first record; an unreadable file counts as the oldest."""
    try:
        with path.open("rb") as file:
            length = min(_HEADER.unpack(file.read(_HEADER.size))[0], 1 << 20)
            return (Event.FromString(file.read(length)).wall_time, path.name)
    except Exception:  # protobuf raises anything on garbage; the note comes from reading the file
        return (0.0, path.name)
