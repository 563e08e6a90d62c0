"""Reads every point of every scalar from TensorBoard's event files, from any writer.

TensorBoard's own readers thin out the points, and silently stop at damage.
"""

import math
import os
import re
import struct
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from google.protobuf.message import DecodeError
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.util.tensor_util import make_ndarray

from cnn_mnist.runs.folder import KERAS, PYTORCH
from cnn_mnist.runs.recorder import masked_crc
from keras_parity.logs.points import MOST_TAGS, Collected, Point, Points, TooManyError

PATTERN = "[!.]*tfevents*"  # operating systems put hidden files next to logs
_PROFILE = ".profile-empty"
OURS = ".compare"
"""Ending of the files that ``compare`` writes."""

_HEADER = struct.Struct("<QI")  # length of the data, masked CRC of these 8 bytes
_CRC = struct.Struct("<I")
_LONGEST = 2**24
"""Maximum bytes of a record; longer records are skipped, because parsing may take fifty times the size."""
BY_WRITER = "the library that wrote the log"
_LFS = b"version http"  # the placeholder of a file that Git LFS has not fetched


class Scalars(NamedTuple):
    """Scalars of some log files.

    Attributes:
        points: The points of each tag.
        framework: ``"keras"`` or ``"pytorch"``, of the library that wrote the first record.
        basis: What the framework is taken from, where nothing names it.
        notes: Defects of the files, one line each.
    """

    points: dict[str, Points]
    framework: str
    basis: str
    notes: list[str]


_WRITERS = {
    "tensorflow.core.util.events_writer": KERAS,
    "tensorboard.summary.writer.event_file_writer": PYTORCH,  # of torch.utils.tensorboard, and so of Lightning
}


class _Restarts:
    """Finds the points that a restart replaces, as TensorBoard's ``EventAccumulator`` does."""

    _version, _newest = 0.0, 0

    def purge(self, event: Event, points: Mapping[str, Points]) -> None:
        """Removes the points that an event makes obsolete."""
        if event.file_version.startswith("brain.Event:"):
            self._version = float(event.file_version.partition(":")[2])
        if self._version >= 2:
            if event.session_log.status == SessionLog.START:
                for tag in points:
                    points[tag].purge(event.step)
        elif event.step < self._newest and event.HasField("summary"):
            for tag in {value.tag for value in event.summary.value} & points.keys():
                points[tag].purge(event.step)
        else:
            self._newest = event.step


def read_scalars(folder: str | Path) -> Scalars:
    """Reads the event files directly in a folder, each as far as it is intact.

    A restart that a log records (``purge_step``) removes the points it repeats, as TensorBoard's own reader does.

    Args:
        folder: The folder, or one event file.

    Returns:
        The points of all files; damage becomes a note.
    """
    points, plugins, restarts = Collected(), dict[str, str](), _Restarts()
    framework, tensors, notes = "", False, list[str]()
    try:
        for file in files_in(Path(folder)):
            for event in _read_events(file, notes):
                framework = framework or _WRITERS.get(event.source_metadata.writer, "")
                restarts.purge(event, points)
                if max(len(plugins), len(event.summary.value)) > MOST_TAGS:
                    raise TooManyError(f"has more than {MOST_TAGS:,} tags and was read up to there")
                for value in event.summary.value:
                    tag = value.tag or value.node_name
                    plugin = plugins.setdefault(tag, value.metadata.plugin_data.plugin_name)
                    number = _number(value) if plugin in ("", "scalars") else None  # HParams' look like scalars
                    if number is not None:
                        tensors |= value.HasField("tensor")
                        points.add(tag, Point(event.step, event.wall_time, number))
    except TooManyError as error:
        notes.append(f"{folder} {error}")
    kept = {tag: found for tag, found in points.items() if found}
    basis = BY_WRITER if framework else "the encoding of its values"
    return Scalars(kept, framework or (KERAS if tensors else PYTORCH), basis, notes)


def files_in(folder: Path) -> list[Path]:
    """The event files of a folder by name, as TensorBoard reads them; of a file, the file itself."""
    if folder.is_file():
        return [folder]
    found = (file for file in folder.glob(PATTERN) if file.is_file() and not file.name.endswith(_PROFILE))
    return sorted(found, key=_in_order)


def _in_order(path: Path) -> list[int | str]:
    """Sorts names by the numbers in them: a process's tenth file of a second follows its ninth."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]


def _number(value: Summary.Value) -> float | None:
    """The value of a scalar in either encoding; None for anything else."""
    if value.HasField("simple_value"):
        return value.simple_value
    if math.prod(dim.size for dim in value.tensor.tensor_shape.dim) != 1:  # no array of a declared size is made
        return None
    if len(value.tensor.float_val) == 1 and not value.tensor.tensor_shape.dim:  # as TensorFlow writes them
        return value.tensor.float_val[0]
    try:
        number = make_ndarray(value.tensor)
    except (TypeError, ValueError):  # no tensor, or its content does not fit its shape
        return None
    return float(number.item()) if number.size == 1 and number.dtype.kind in "fiu" else None


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
        if length > _LONGEST:
            wrong = wrong or f"has a record of {length:,} bytes at byte {offset}, which was skipped"
            file.seek(end)
        elif masked_crc(content := file.read(length)) == _CRC.unpack(file.read(_CRC.size))[0]:
            try:
                event = Event.FromString(content)
            except DecodeError:
                return "holds records that are not events"
            yield event
        else:
            wrong = wrong or f"has a record with a bad checksum at byte {offset}, which was skipped"
        offset = end
    return wrong
