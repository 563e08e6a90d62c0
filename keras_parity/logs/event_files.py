"""The one reader of TensorBoard's event files: every point of every scalar, whoever wrote it.

TensorBoard's own readers thin tags and cut damaged files short in silence.
"""

import mmap
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import google_crc32c
from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.util.tensor_util import make_ndarray

from cnn_mnist.errors import UserError, UserNotice

PATTERN = "*tfevents*"

_HEADER = struct.Struct("<QI")  # length of the data, masked CRC of these 8 bytes
_CRC = struct.Struct("<I")


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


class Scalars(NamedTuple):
    """What a folder's event files hold.

    Attributes:
        points: The points of each tag, ascending by step, one for each step.
        tensors: Whether they are written as tensors, as TensorFlow 2 does, or as simple values, as PyTorch does.
    """

    points: dict[str, list[Point]]
    tensors: bool


def read_scalars(folder: str | Path) -> Scalars:
    """Reads the event files that lie in a folder (not below it), oldest first.

    Where steps of a tag go back, a run was started anew from there: what it had written from that step on is
    replaced by what follows.

    Args:
        folder: The folder, or one event file.

    Raises:
        UserError: A file is no event file. A damaged one is read as far as it is good, with a ``UserNotice``.
    """
    points: dict[str, list[Point]] = {}
    tensors = False
    for file in _files(Path(folder)):
        for event in read_events(file):
            for value in event.summary.value:
                number = _number(value)
                if number is None:
                    continue
                tensors |= value.HasField("tensor")
                earlier = points.setdefault(value.tag, [])
                while earlier and earlier[-1].step >= event.step:
                    earlier.pop()
                earlier.append(Point(event.step, event.wall_time, number))
    return Scalars(points, tensors)


def read_pictures(folder: str | Path) -> dict[str, bytes]:
    """The newest picture of each tag of a folder's event files, as the PNG file that it is.

    Args:
        folder: The folder, or one event file.
    """
    values = (value for file in _files(Path(folder)) for event in read_events(file) for value in event.summary.value)
    return {value.tag: png for value in values if (png := _png(value))}


def read_events(path: Path) -> Iterator[Event]:
    """The good events of a file, in its order; one ``UserNotice`` names the first place that is not.

    Raises:
        UserError: It is no event file, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""
    except OSError as error:
        raise UserError(f"expected an event file that can be read, got {path} ({error.strerror})") from None
    offset, damage = 0, None if data else (0, "is empty")
    while offset < len(data):
        body = offset + _HEADER.size
        header = data[offset:body]
        length, length_crc = _HEADER.unpack(header.ljust(_HEADER.size))
        whole = len(header) == _HEADER.size
        if whole and _masked_crc(header[:8]) != length_crc:
            if offset == 0 and any(header):  # zeros are what a power cut leaves
                raise UserError(f"expected an event file, got {path}, which is none; name a run folder")
            damage = damage or (offset, "has a record with a bad checksum, and is read to there")
            break
        if not whole or body + length + _CRC.size > len(data):
            damage = damage or (offset, "ends inside a record")
            break
        content = data[body : body + length]
        if _masked_crc(content) == _CRC.unpack_from(data, body + length)[0]:
            try:
                event = Event.FromString(content)
            except DecodeError:
                raise UserError(f"expected an event file, got {path}, whose records hold something else") from None
            yield event
        else:
            damage = damage or (offset, "has a record with a bad checksum, which is left out")
        offset = body + length + _CRC.size
    if damage is not None:
        warnings.warn(UserNotice(f"{path}: at byte {damage[0]} the file {damage[1]}"), stacklevel=2)


def record(event: Event) -> bytes:
    """An event as it lies in a file: length and content, each with its checksum."""
    content = event.SerializeToString()
    length = struct.pack("<Q", len(content))
    return length + _CRC.pack(_masked_crc(length)) + content + _CRC.pack(_masked_crc(content))


def _number(value: Summary.Value) -> float | None:
    """The value of a scalar in either encoding; None for anything else."""
    if value.metadata.plugin_data.plugin_name not in ("", "scalars"):  # HParams' records look like scalars
        return None
    if value.HasField("simple_value"):
        return value.simple_value
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


def _files(folder: Path) -> list[Path]:
    """The event files of a folder, oldest first, or the one that is named."""
    if folder.is_file():
        return [folder]
    return sorted((file for file in folder.glob(PATTERN) if file.is_file()), key=_start)


def _start(path: Path) -> tuple[float, str]:
    """When a file was begun, from its first record; an unreadable one counts as the oldest."""
    try:
        with path.open("rb") as file:
            length = min(_HEADER.unpack(file.read(_HEADER.size))[0], 1 << 20)
            return (Event.FromString(file.read(length)).wall_time, path.name)
    except Exception:  # whatever protobuf makes of garbage; the reading itself says what is wrong
        return (0.0, path.name)


def _masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and shifted as in TensorFlow's ``core/lib/hash/crc32c.h``."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
