"""Writes the event file of a run for both trainers, without a framework.

Each record is written before its call returns, so that a killed process leaves complete records and a full disk raises
an error at once. The writers of PyTorch and TensorFlow queue records for another thread.
"""

import os
import platform
import struct
import time
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google_crc32c

from cnn_mnist.runs import pictures
from cnn_mnist.runs.tags import TEXT_SUFFIX

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

_numbers = count()

_WRITER = "cnn_mnist.runs.recorder"
_HEAD = 4096  # bytes: the mark is one of the first records


class Recorder:
    """Writes a new event file; the methods have the names of PyTorch's ``SummaryWriter``.

    Args:
        folder: The run folder; it is created if missing.
    """

    def __init__(self, folder: str | Path) -> None:
        name = f"events.out.tfevents.{int(time.time())}.{platform.node()}.{os.getpid()}.{next(_numbers)}"
        self._path = Path(folder, name)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._write(file_version="brain.Event:2")
        self.add_event(mark())

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Writes a value."""
        self._write(step, tag=tag, simple_value=value)

    def add_text(self, tag: str, text: str, step: int) -> None:
        """Writes a text in Markdown."""
        from tensorboard.plugins.text.metadata import create_summary_metadata
        from tensorboard.util.tensor_util import make_tensor_proto

        about = create_summary_metadata("", "")
        self._write(step, tag=tag + TEXT_SUFFIX, metadata=about, tensor=make_tensor_proto([text.encode()]))

    def add_image(self, tag: str, pixels: pictures.Picture, step: int, dataformats: str = "HWC") -> None:
        """Writes a picture, uint8 [height, width, 3]; ``dataformats`` must be ``HWC``."""
        self.add_summary(picture(tag, pixels), step)

    @property
    def file_writer(self) -> "Recorder":
        """The recorder itself: ``SummaryWriter`` has ``add_summary`` here."""
        return self

    def add_summary(self, summary: "Summary", step: int) -> None:
        """Writes one of TensorBoard's ``Summary`` records."""
        self._write(step, summary=summary)

    def add_event(self, event: "Event") -> None:
        """Writes one of TensorBoard's ``Event`` records."""
        rest = record(event)
        with self._path.open("ab", buffering=0) as file:  # in a folder that was removed it finds no place
            while rest:  # a disk that is nearly full takes a part
                rest = rest[file.write(rest) :]

    def flush(self) -> None:
        """Does nothing, because records are not queued."""

    close = flush

    def _write(self, step: int = 0, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        if "tag" in content:
            content = {"summary": Summary(value=[Summary.Value(**content)])}
        self.add_event(Event(wall_time=time.time(), step=step, **content))


def mark() -> "Event":
    """Builds the record that marks an event file as this project's."""
    from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata

    return Event(wall_time=time.time(), source_metadata=SourceMetadata(writer=_WRITER))


def is_marked(path: Path) -> bool:
    """Returns whether this project wrote an event file."""
    with path.open("rb") as file:
        return _WRITER.encode() in file.read(_HEAD)


def picture(tag: str, pixels: pictures.Picture) -> "Summary":
    """A picture, uint8 [height, width, 3], as TensorBoard's ``Summary``."""
    from tensorboard.compat.proto.summary_pb2 import Summary

    height, width, _ = pixels.shape
    drawn = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=pictures.png(pixels))
    return Summary(value=[Summary.Value(tag=tag, image=drawn)])


def record(event: "Event") -> bytes:
    """Encodes an event for the file: length and content, each with its checksum."""
    content = event.SerializeToString()
    length = struct.pack("<Q", len(content))
    return b"".join((length, struct.pack("<I", masked_crc(length)), content, struct.pack("<I", masked_crc(content))))


def masked_crc(data: bytes) -> int:
    """CRC-32C, rotated and shifted as in TensorFlow's ``core/lib/hash/crc32c.h``."""
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
