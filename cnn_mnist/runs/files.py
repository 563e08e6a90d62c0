"""Files that appear whole or not at all, and whether one that was written is whole still."""

import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from cnn_mnist.errors import UserError


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
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


def write_whole(path: str | Path, text: str) -> None:
    """Writes a text, in UTF-8, as ``whole`` does."""
    with whole(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="")


def is_whole(path: str | Path) -> bool:
    """Whether every part of a ``.ckpt``, ``.pt`` or ``.keras`` file has the checksum that it was written with.

    PyTorch looks at none of them, so that a flipped bit of a weight would be loaded without a word.
    """
    try:
        with ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, EOFError, BadZipFile, zlib.error, NotImplementedError, ValueError):
        return False


@contextmanager
def hold(folder: str | Path) -> Iterator[None]:
    """Keeps every other process that asks for it out of a folder meanwhile; the end of this process lets go of it too.

    Raises:
        UserError: Another process, or a training in this one, is at work there.
    """
    if os.name != "posix":  # Windows has no such lock: nobody is kept out
        yield
        return
    import fcntl

    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UserError(
            f"expected a folder that nobody is at work in, got {folder}, in which another training or study runs; wait "
            "for its end, or name another folder"
        ) from None
    finally:
        os.close(place)


def _sync(path: Path) -> None:
    if os.name != "posix":  # Windows opens no folder for that
        return
    place = os.open(path, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)
