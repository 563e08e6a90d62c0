"""Damages the content of a file, also behind right checksums."""

import gzip
import io
import struct
import warnings
import zipfile
import zlib

import numpy as np

from cnn_mnist.runs.recorder import masked_crc

_TEXTS = [
    *("[", "{", "nan", "\n", "\0", "é", "-1", "1e999", "2001-99-99", "\x1b[31m", '"', "'", ",", ": "),
    *("!!python/name:os.system", "&a [*a]", "&a {b: *a}", "<<: *a"),
    *("[" * 100_000, "{a: " * 20_000, "x" * 2_000_000, "1," * 500_000, "\n" * 500_000),
]  # fmt: skip
_HUGE = [b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\xff" * 8, b"\0\1".center(8, b"\0")]
_KINDS = {
    "cut": 0.14, "flip": 0.26, "splice": 0.12, "insert": 0.08, "repeat": 0.08, "zeros": 0.06, "empty": 0.01,
    "huge": 0.13, "text": 0.12,
}  # fmt: skip


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """The content cut, flipped, spliced, grown, repeated, or with a huge number or a text in it; one to three times."""
    for _ in range(int(random.integers(1, 4))):
        size = max(1, len(content))
        at, other = (int(random.integers(size)) for _ in range(2))
        length = int(random.integers(1, 64))
        kind = random.choice(list(_KINDS), p=list(_KINDS.values()))
        if kind == "cut":
            content = content[:at]
        elif kind == "flip" and content:
            content = content[:at] + bytes([content[at] ^ (1 << int(random.integers(8)))]) + content[at + 1 :]
        elif kind == "splice":
            content = content[:at] + content[other : other + length] + content[at + length * int(random.integers(2)) :]
        elif kind == "insert":
            content = content[:at] + random.bytes(length) + content[at:]
        elif kind == "repeat":
            content = content[:at] + content[at : at + 50 * length] * int(random.integers(2, 300)) + content[at:]
        elif kind == "zeros":
            content = content[:at] + bytes(length) + content[at + length :]
        elif kind == "empty":
            content = b""
        elif kind == "huge":
            number = _HUGE[int(random.integers(len(_HUGE)))]
            content = content[:at] + number + content[at + len(number) :]
        else:
            content = content[:at] + _TEXTS[int(random.integers(len(_TEXTS)))].encode() + content[at:]
    return content


def damaged_inside(content: bytes, random: np.random.Generator) -> bytes:
    """The content with damage in one part and right checksums; as ``damaged`` if its format has no checksums."""
    if content.startswith(b"PK\3\4"):
        return _zip(content, random)
    if content.startswith(b"\x1f\x8b"):
        return gzip.compress(damaged(gzip.decompress(content), random), 1)
    if content.startswith(b"\x89PNG"):
        return _png(content, random)
    if content[8:12] == struct.pack("<I", masked_crc(content[:8])):
        return _events(content, random)
    return damaged(content, random)


def _zip(content: bytes, random: np.random.Generator) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(packed, "w") as after:
        members = before.infolist()
        chosen = int(random.integers(len(members)))
        for number, member in enumerate(members):
            data, names = before.read(member), [member.filename]
            kind = random.choice(["damage", "bomb", "twice", "leave", "exchange"], p=[0.86, 0.02, 0.04, 0.04, 0.04])
            if number == chosen:
                data = damaged(data, random) if kind == "damage" else bytes(60_000_000) if kind == "bomb" else data
                data = before.read(members[int(random.integers(len(members)))]) if kind == "exchange" else data
                names *= {"twice": 2, "leave": 0}.get(str(kind), 1)
            for name in names:
                with warnings.catch_warnings(action="ignore"):  # of the name that is there twice
                    after.writestr(name, data, zipfile.ZIP_DEFLATED if len(data) > 100_000 else zipfile.ZIP_STORED)
    return packed.getvalue()


def _png(content: bytes, random: np.random.Generator) -> bytes:
    chunks, at = list[tuple[bytes, bytes]](), 8
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        chunks.append((content[at + 4 : at + 8], content[at + 8 : at + 8 + length]))
        at += 12 + length
    chosen = int(random.integers(len(chunks)))
    name, data = chunks[chosen]
    if name == b"IDAT" and random.random() < 0.5:
        data = zlib.compress(damaged(zlib.decompress(data), random))
    else:
        data = damaged(data, random)
    chunks[chosen] = name, data
    whole = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return content[:8] + b"".join(whole)


def _events(content: bytes, random: np.random.Generator) -> bytes:
    records, at = list[bytes](), 0
    while at < len(content):
        (length,) = struct.unpack("<Q", content[at : at + 8])
        records.append(content[at + 12 : at + 12 + length])
        at += 16 + length
    chosen = int(random.integers(len(records)))
    records[chosen] = damaged(records[chosen], random)
    if random.random() < 0.1:
        records *= 50
    heads = (struct.pack("<Q", len(record)) for record in records)
    return b"".join(
        head + struct.pack("<I", masked_crc(head)) + record + struct.pack("<I", masked_crc(record))
        for head, record in zip(heads, records, strict=True)
    )
