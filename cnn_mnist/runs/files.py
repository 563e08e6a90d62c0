"""Files that appear whole or not at all, and whether one that was written is whole still."""

import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from cnn_mnist.errors import UserError

_LOCK = ".lock"  # stays in the folder, so that whoever waits for it sees the same file


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Gives another path to write to, whose file takes the place of ``path`` once it lies on the disk.

    What was at ``path`` stays until then, and for good where the writing fails. Links are followed, as by any writer.

    Raises:
        UserError: It cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            aside = Path(folder, target.name)  # the same name: PyTorch writes it into the file
            yield aside
            _sync(aside)
            aside.replace(target)
            _sync(target.parent)
    except (OSError, RuntimeError) as error:  # PyTorch's and HDF5's for a full disk is a RuntimeError
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:120]
        raise UserError(
            f"expected a file that can be written, got {path} ({reason}); make room for it or name another"
        ) from None


def atomic_write_text(path: str | Path, text: str) -> None:
    """Writes a text, in UTF-8, with ``atomic_write``."""
    with atomic_write(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="")


def zip_is_intact(path: str | Path) -> bool:
    """Whether every part of a ``.ckpt``, ``.pt`` or ``.keras`` file has the checksum that it was written with.

    PyTorch looks at none of them, so that a flipped bit of a weight would be loaded without a word.
    """
    try:
        with ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, EOFError, BadZipFile, zlib.error, NotImplementedError, ValueError):
        return False


@contextmanager
def lock_folder(folder: str | Path) -> Iterator[None]:
    """Locks a folder against every other process and training; the system unlocks it when this process dies.

    Raises:
        UserError: Another process, or a training in this one, holds the lock.
    """
    from filelock import FileLock, Timeout  # here, since a command that only prints needs none

    try:
        with FileLock(Path(folder, _LOCK), timeout=0):
            yield
    except Timeout:
        raise UserError(
            f"expected a folder that nobody is at work in, got {folder}, in which another training or study runs; wait "
            "for its end, or name another folder"
        ) from None


def _sync(path: Path) -> None:
    if os.name != "posix":  # Windows opens no folder for that
        return
    place = os.open(path, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)
