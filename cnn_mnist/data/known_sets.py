"""The known data sets, with torchvision's names, files and labels: 28x28 pixels, ten classes each."""

import hashlib
from typing import NamedTuple

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
SIZES = dict(zip(FILES, (47_040_016, 60_008, 7_840_016, 10_008), strict=True))
"""Bytes of each file, equal in all sets."""

SUMS = {
    "mnist": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    "fashion_mnist": (
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    "kmnist": (
        "92be26ec9822e900ac425d0a0aa84ced",
        "949e75301f8813e0dc5800dcc320fc52",
        "bf305b8cd328700fbc17f5acbc2856d2",
        "9f55f451c0988b028eccdf7d5cc265ab",
    ),
}
"""Checksums of the unpacked files, in the order of ``FILES``: SHA-256, or MD5 if only that is published."""


class KnownSet(NamedTuple):
    """The names of a data set.

    Attributes:
        title: Name in texts.
        folder: torchvision's class and folder.
        classes: Name of each label, from 0.
    """

    title: str
    folder: str
    classes: tuple[str, ...]


_FASHION = "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"
KNOWN_SETS = {
    "mnist": KnownSet("MNIST", "MNIST", tuple("0123456789")),
    "fashion_mnist": KnownSet("Fashion-MNIST", "FashionMNIST", _FASHION),
    "kmnist": KnownSet("KMNIST", "KMNIST", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")),
}


def digest(data: bytes, kind: str = "sha256") -> str:
    """Returns the checksum of a file's content in hexadecimal; ``kind`` is hashlib's name."""
    return hashlib.new(kind, data, usedforsecurity=False).hexdigest()


def identify(data: bytes) -> tuple[str, str] | None:
    """Returns the name of the known set and of the file with this content; None for other content."""
    by_sum = {found: (name, file) for name in SUMS for file, found in zip(FILES, SUMS[name], strict=True)}
    return by_sum.get(digest(data)) or by_sum.get(digest(data, "md5"))
