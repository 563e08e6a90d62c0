"""Files that appear whole or not at all, and whether one that was written is whole still."""

import math
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from cnn_mnist.errors import UserError

_MOST_NODES = 100_000
"""Of a YAML file; the longest of ours has 200."""


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


def load_yaml(content: bytes | str) -> Any:
    """The content of a YAML file.

    Raises:
        UserError: Its aliases multiply.
        yaml.YAMLError: It is no YAML.
    """
    import yaml

    check_aliases(content)
    return yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def check_aliases(content: bytes | str) -> None:
    """Refuses YAML whose aliases multiply: whatever walks such a one finds no end.

    Raises:
        UserError: They do.
        yaml.YAMLError: It is no YAML.
    """
    import yaml

    sizes: dict[int, float] = {}

    def size(node: Any) -> float:
        if id(node) not in sizes:
            sizes[id(node)] = math.inf  # of a node within itself
            inner = node.value if isinstance(node.value, list) else []
            parts = (part for entry in inner for part in (entry if isinstance(entry, tuple) else [entry]))
            sizes[id(node)] = 1 + sum(map(size, parts))
        return sizes[id(node)]

    root = yaml.compose(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    if root is not None and size(root) > _MOST_NODES:
        raise UserError(f"expected YAML of {_MOST_NODES:,} values at most, got more from aliases; write them out")


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
