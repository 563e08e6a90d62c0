"""Checks files that somebody else made before anything is allocated for what they declare."""

import pickletools
from pathlib import Path
from typing import BinaryIO
from zipfile import ZipFile

from cnn_mnist.errors import UserError

LARGEST_TEXT = 2**24
"""Bytes of a description, a configuration or a pickle's structure, at most; weights are not among them."""

_EXPANSION, _ALLOWANCE = 20, 2**24
"""A file may unpack to 20 times its size and 16 MB more; weights hardly compress at all."""


_MOST_VALUES = 500_000
"""Limit for the operations of a pickle, and for the values in it; a checkpoint of 1,000 tensors has 30,000."""


def read_text(path: str | Path) -> bytes:
    """Reads a text file of at most 16 MB.

    Raises:
        UserError: The file is larger.
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as file:
        content = file.read(LARGEST_TEXT + 1)
    if len(content) > LARGEST_TEXT:
        raise UserError(f"expected a text of at most {LARGEST_TEXT:,} bytes, got more in {path}")
    return content


def fits(declared: int, path: str | Path, expansion: int = _EXPANSION) -> bool:
    """Returns whether a file is large enough for the bytes that it declares to hold.

    Args:
        declared: Bytes.
        path: The file.
        expansion: How many times its size a file of this kind may unpack to.
    """
    return declared <= expansion * Path(path).stat().st_size + _ALLOWANCE


def zip_fits(archive: ZipFile, path: str | Path) -> bool:
    """Returns whether an archive unpacks to no more than its size explains, and its texts are short."""
    members = archive.infolist()
    texts = (member for member in members if member.filename.endswith((".json", ".pkl")))
    return fits(sum(m.file_size for m in members), path) and all(m.file_size <= LARGEST_TEXT for m in texts)


def pickle_is_small(pickled: bytes | BinaryIO) -> bool:
    """Returns whether a pickle allocates no more than its length explains, and stays small where it repeats itself.

    Python allocates a memo as large as its highest index, and ``bytearray`` takes a length. Hashing a tuple that holds
    another twice, which holds another twice, and so on, takes forever.

    Args:
        pickled: The pickle, or a file at its start, which is read to its end.
    """
    stack, memo = list[int | None](), dict[int, int | None]()  # how many values each value holds; None is a mark
    try:
        for count, (code, argument, _) in enumerate(pickletools.genops(pickled)):
            memo_too_large = "PUT" in code.name and isinstance(argument, int) and argument > count
            if memo_too_large or "bytearray" in f"{code.name} {str(argument)[:40]}".lower():
                return False
            if "PUT" in code.name or code.name == "MEMOIZE":
                memo[len(memo) if argument is None else argument] = stack[-1]
                continue
            size = (memo[int(argument or 0)] or 0) if "GET" in code.name else 1
            before = code.stack_before
            if pickletools.markobject in before:
                while (inner := stack.pop()) is not None:
                    size += inner
                before = before[: before.index(pickletools.markobject)]
            size += sum(stack.pop() or 0 for _ in before)
            if max(size, count) > _MOST_VALUES:
                return False
            stack += [None if after is pickletools.markobject else size for after in code.stack_after]
    except Exception:  # each opcode raises other errors for damage
        return False
    return True
