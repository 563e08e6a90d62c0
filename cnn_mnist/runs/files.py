"""Atomic writes, checks of written files, and a lock for a folder."""

import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from cnn_mnist.errors import UserError, as_user_error, of_system
from cnn_mnist.untrusted import zip_fits

_LOCK = ".lock"  # is never removed, so that all processes lock the same file


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path; after the block its file is synced to disk and replaces ``path``.

    If writing fails, the old file remains. Symbolic links are followed.

    Args:
        path: The file to write.

    Raises:
        UserError: The file cannot be written.
    """
    target = Path(os.path.realpath(path))
    start, end = f"expected a file that can be written, got {path}", "; free some space or choose another"
    kinds = OSError, RuntimeError  # PyTorch and HDF5 raise RuntimeError for a full disk
    told = as_user_error(start, end, of_system, kinds)
    with told, tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        aside = Path(folder, target.name)  # the same name, because PyTorch stores it in the file
        yield aside
        _sync(aside)
        aside.replace(target)
        _sync(target.parent)


def remove_leftovers(folder: str | Path) -> None:
    """Removes the temporary folders that a killed ``atomic_write`` left in a folder, and nothing else."""
    for place in Path(folder).glob(".*"):
        name = re.fullmatch(r"\.(.+)\.[a-z0-9_]{8}", place.name)  # as tempfile completes a prefix
        if name and place.is_dir() and not place.is_symlink() and {file.name for file in place.iterdir()} <= {name[1]}:
            shutil.rmtree(place)


def atomic_write_text(path: str | Path, text: str) -> None:
    """Writes a text in UTF-8 with ``atomic_write``; bytes of a file name that are no text become escapes."""
    with atomic_write(path) as aside:
        aside.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def zip_is_intact(path: str | Path) -> bool:
    """Returns whether all checksums in a ``.ckpt``, ``.pt`` or ``.keras`` file are right, and no size is absurd.

    PyTorch does not check them and would silently load a weight with a flipped bit.
    """
    try:
        with ZipFile(path) as archive:
            return zip_fits(archive, path) and archive.testzip() is None
    except (OSError, EOFError, BadZipFile, zlib.error, NotImplementedError, ValueError):
        return False


def check_writable(folder: str | Path) -> None:
    """Raises ``UserError`` unless ``folder``, or its nearest existing parent, is writable."""
    nearest = next(path for path in (Path(folder), *Path(folder).absolute().parents) if path.exists())
    start = f"expected a folder for logs that can be written, got {folder}"
    with as_user_error(start, "; choose another", of_system), tempfile.TemporaryFile(dir=nearest):
        pass


@contextmanager
def lock_folder(folder: str | Path) -> Iterator[None]:
    """Locks a folder against other processes and trainings; the system unlocks it when this process dies.

    Args:
        folder: An existing folder.

    Raises:
        UserError: Another process, or a training in this one, holds the lock.
    """
    from filelock import FileLock, Timeout  # imported here, because most commands do not lock

    try:
        with FileLock(Path(folder, _LOCK), timeout=0):
            yield
    except Timeout:
        came = f"{folder}, in which another training or study runs; wait for its end, or choose another folder"
        raise UserError(f"expected an unused folder, got {came}") from None


def _sync(path: Path) -> None:
    if os.name != "posix":  # Windows cannot sync a folder
        return
    place = os.open(path, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)
