"""Finds, reads and verifies the IDX files of the known data sets."""

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.data.known_sets import FILES, KNOWN_SETS, SIZES, SUMS, digest, identify
from cnn_mnist.errors import UserError

ELSEWHERE = "choose another folder with --data.data_dir"
"""The other way out of every error about files."""

_HEADER_BYTES = {"images": 16, "labels": 8}
_GZIP, _IDX = b"\x1f\x8b", b"\0\0\x08"
"""First bytes of a gzip file, and of an IDX file of uint8."""


def find_file(folders: Sequence[Path], name: str) -> Path | None:
    """Finds a file in the first folder that has it, under any of its common names.

    These are the server's name, that name with a dot before ``idx`` (from 7-Zip and from Kaggle), both also with .gz,
    and a folder of that name that contains the file (also from Kaggle).

    Args:
        folders: The folders, the preferred one first.
        name: One of ``FILES``.

    Returns:
        The path; None without one.
    """
    names = [f"{spelling}{ending}" for ending in ("", ".gz") for spelling in (name, name.replace("-idx", ".idx"))]
    paths = (folder / spelling for folder in folders for spelling in names)
    found = [path for path in paths if path.exists()]
    files = (inner for path in found for inner in (path, path / path.name) if inner.is_file())
    return next(files, found[0] if found else None)


def read_file(path: Path, name: str, dataset: str) -> bytes:
    """Reads and verifies a file, unpacked; the first bytes say whether it is packed, whatever its name.

    Args:
        path: The file.
        name: One of ``FILES``.
        dataset: One of ``KNOWN_SETS``.

    Returns:
        The content of the IDX file.

    Raises:
        UserError: It is not that file of the set; the message says what it is.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(64)
    packed = start.startswith(_GZIP) or (path.suffix == ".gz" and not start.startswith(_IDX))
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            data = file.read(SIZES[name] + 1)  # a small .gz file may expand without limit
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        reason = "a web page, as a refused download leaves" if _is_web_page(start) else error
        raise UserError(f"expected a complete .gz file, got {path} ({reason}); move it away, or {ELSEWHERE}") from None
    return verified(data, name, dataset, str(path), f"move it away to fetch it again, or {ELSEWHERE}")


def verified(data: bytes, name: str, dataset: str, source: str, remedy: str) -> bytes:
    """Returns the content of a file if it is the set's.

    Args:
        data: The content.
        name: One of ``FILES``.
        dataset: One of ``KNOWN_SETS``.
        source: Where it is from, for the error.
        remedy: What to do about a damaged one.

    Raises:
        UserError: The checksum differs.
    """
    title, expected = KNOWN_SETS[dataset].title, SUMS[dataset][FILES.index(name)]
    kind, wanted = "md5" if len(expected) == 32 else "sha256", f"{title}'s {name}"
    if (actual := digest(data, kind)) == expected:
        return data
    if found := identify(data):
        other, file = found
        fix = "rename the files" if other == dataset else f"set --data.dataset={other}"
        raise UserError(f"{source}: expected {wanted}, got {KNOWN_SETS[other].title}'s {file}; {fix}, or {ELSEWHERE}")
    more = " or more" * (len(data) > SIZES[name])
    what = " (a web page)" * _is_web_page(data) + " (cut off)" * (data[:3] == _IDX and len(data) < SIZES[name])
    came = f"{len(data):,} bytes{more} with {actual[:12]}...{what}; the file was not used; {remedy}"
    raise UserError(f"{source}: expected {wanted}, {SIZES[name]:,} bytes with {kind} {expected[:12]}..., got {came}")


def _is_web_page(data: bytes) -> bool:
    return data.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))


def encode(array: NDArray[np.uint8]) -> bytes:
    """Encodes an array as an IDX file: two zeros, type 8 (uint8), number of axes, their lengths, the elements."""
    lengths = np.array(array.shape, dtype=">u4").tobytes()
    return _IDX + bytes([array.ndim]) + lengths + array.tobytes()


def decode(name: str, data: bytes) -> NDArray[np.uint8]:
    """Decodes one of ``FILES``: uint8 [n, 28, 28], or [n] for labels."""
    kind = name.split("-")[1]
    elements = np.frombuffer(data, np.uint8, offset=_HEADER_BYTES[kind])
    return elements.reshape(-1, 28, 28) if kind == "images" else elements
