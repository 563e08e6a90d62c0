"""The one reader of TensorBoard's event files: every point of every scalar, whoever wrote it.

TensorBoard's own readers thin tags and cut damaged files short in silence.
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

PATTERN = "[!.]*tfevents*"  # hidden ones are what an operating system lays beside a file, not logs
OURS = ".compare"
"""How the names of files end that a comparison writes."""

_HEADER = struct.Struct("<QI")  # length of the data, masked CRC of these 8 bytes
_CRC = struct.Struct("<I")
_LFS = b"version http"  # what stands in place of a file that Git LFS has not brought


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
    """The points of a tag, ascending by step, one for each step.

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
        """Step, wall time and value of each point, [n, 3], which numpy takes in place of a point at a time."""
        return np.array(self._numbers).reshape(-1, 3)

    def add(self, point: Point) -> None:
        """Puts a point behind the others.

        Where steps go back, a run was started anew from there: what it had from that step on is replaced.
        """
        while self._numbers and self._numbers[-3] >= point.step:
            del self._numbers[-3:]
        self._numbers.extend(point)


class Scalars(NamedTuple):
    """What logs hold.

    Attributes:
        points: The points of each tag.
        keras: Whether Keras or TensorFlow wrote them: as tensors, where PyTorch writes simple values.
        notes: What is wrong with the files, one line each.
    """

    points: dict[str, Points]
    keras: bool
    notes: list[str]


def read_scalars(folder: str | Path) -> Scalars:
    """Reads the event files that lie in a folder (not below it), oldest first, each as far as it is good.

    Args:
        folder: The folder, or one event file.
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
    """The newest picture of each tag of a folder's event files, as the PNG file that it is.

    Args:
        folder: The folder, or one event file.
    """
    events = (event for file in files_in(Path(folder)) for event in _read_events(file, []))
    return {value.tag: png for event in events for value in event.summary.value if (png := _png(value))}


def files_in(folder: Path) -> list[Path]:
    """The event files of a folder, oldest first, or the one that is named."""
    if folder.is_file():
        return [folder]
    return sorted((file for file in folder.glob(PATTERN) if file.is_file()), key=_start)


def _number(value: Summary.Value) -> float | None:
    """The value of a scalar in either encoding; None for anything else."""
    if value.metadata.plugin_data.plugin_name not in ("", "scalars"):  # HParams' records look like scalars
        return None
    if value.HasField("simple_value"):
        return value.simple_value
    if len(value.tensor.float_val) == 1 and not value.tensor.tensor_shape.dim:  # as TensorFlow writes them
        return value.tensor.float_val[0]
    try:
        number = make_ndarray(value.tensor)
    except (TypeError, ValueError):  # no tensor at all, or one whose content does not fit its shape
        return None
    return float(number.item()) if number.size == 1 and number.dtype.kind in "fiu" else None


def _png(value: Summary.Value) -> bytes:
    """The first picture in either encoding; empty for anything else."""
    if value.metadata.plugin_data.plugin_name == "images":  # width, height and the pictures, all of them strings
        return next(iter(value.tensor.string_val[2:]), b"")
    return value.image.encoded_image_string


def _read_events(path: Path, notes: list[str]) -> Iterator[Event]:
    """The good events of a file, in its order; the first thing that is wrong with it becomes a note."""
    try:
        with path.open("rb") as file:
            wrong = yield from _good_events(file)
    except OSError as error:
        wrong = f"cannot be read ({error.strerror})"
    if wrong:
        notes.append(f"{path} {wrong}")


def _good_events(file: BinaryIO) -> Generator[Event, None, str]:
    """Record by record; returns what is wrong with the file, empty where nothing is."""
    size, offset = os.fstat(file.fileno()).st_size, 0
    wrong = "" if size else "is empty"
    while offset < size:
        header = file.read(_HEADER.size)
        length, length_crc = _HEADER.unpack(header.ljust(_HEADER.size))
        end = offset + _HEADER.size + length + _CRC.size
        whole = len(header) == _HEADER.size
        if whole and masked_crc(header[:8]) != length_crc:
            if header == _LFS:
                return "is a pointer of Git LFS; git lfs pull brings the file itself"
            if offset == 0 and any(header):
                return "is no event file"
            found = "a record with a bad checksum" if any(header) else "zeros, as a power cut leaves them,"
            return wrong or f"has {found} at byte {offset}, and is read to there"
        if not whole or end > size:
            return wrong or f"ends inside a record at byte {offset}"
        content, crc = file.read(length), file.read(_CRC.size)
        if masked_crc(content) == _CRC.unpack(crc)[0]:
            try:
                event = Event.FromString(content)
            except DecodeError:
                return "holds records of something else than events"
            yield event
        else:
            wrong = wrong or f"has a record with a bad checksum at byte {offset}, which is left out"
        offset = end
    return wrong


def _start(path: Path) -> tuple[float, str]:
    """When a file was begun, from its first record; an unreadable one counts as the oldest."""
    try:
        with path.open("rb") as file:
            length = min(_HEADER.unpack(file.read(_HEADER.size))[0], 1 << 20)
            return (Event.FromString(file.read(length)).wall_time, path.name)
    except Exception:  # whatever protobuf makes of garbage; the reading itself says what is wrong
        return (0.0, path.name)
