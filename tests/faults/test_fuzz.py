"""Damaged files of every kind that is read: the right result, or one clear line; in reasonable time.

``FUZZ_FILES=10000 pytest -m faults tests/faults/test_fuzz.py`` reads that many; the default ``pytest`` reads a few of
each kind.
"""

import gzip
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.numpy import save_file

from cnn_mnist.architecture.descriptions import plain, read_network
from cnn_mnist.data import idx_files, npz
from cnn_mnist.data.digits.read import read_digits
from cnn_mnist.errors import UserError, UserNotice
from cnn_mnist.runs.folder import read_config
from cnn_mnist.runs.mistakes import read_mistakes
from keras_parity.convert import keras_files, pytorch_files, state_dicts
from keras_parity.logs.csv_files import read_csv
from keras_parity.logs.event_files import read_scalars

FILES = int(os.environ.get("FUZZ_FILES", "1000"))
MOST = 3 * 2**30
"""Bytes that a file may take beyond what the imports take."""

NET = read_network([{"Conv2D": {"filters": 2, "kernel_size": 3}}, "BatchNormalization", "Flatten", {"Dense": 10}])
PICTURES = ("png", "jpg", "gif", "bmp", "webp", "tif")

READERS: dict[str, Callable[[Path], object]] = {
    "run.ckpt": pytorch_files.read_ckpt,
    "weights.pt": lambda path: state_dicts.read_state_dict(path, NET),
    "weights.safetensors": lambda path: state_dicts.read_state_dict(path, NET),
    "model.keras": keras_files.read_keras,
    "model.weights.h5": lambda path: keras_files.read_h5(path, NET),
    "events.out.tfevents.1.a": lambda path: read_scalars(path.parent),
    "metrics.csv": read_csv,
    "mistakes.csv": lambda path: read_mistakes(path.parent),
    "config.yaml": lambda path: read_config(path.parent),
    "net.yaml": lambda path: read_network(str(path)),
    "data.npz": npz.load,
    "t10k-labels-idx1-ubyte.gz": lambda path: idx_files.read_file(path, path.stem, "mnist"),
    **{f"digit.{ending}": lambda path: read_digits([path]) for ending in PICTURES},
}
"""How each kind of file is read, by the name that it has."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A folder with a whole file of each kind."""
    from cnn_mnist.architecture.initial_weights import initial_weights
    from cnn_mnist.settings import ModelSettings
    from keras_parity.convert.portable import Portable
    from keras_parity.logs.event_writer import scalars, write_events
    from keras_parity.twin.network import build_twin

    folder = tmp_path_factory.mktemp("whole")
    portable = Portable(initial_weights(NET, "keras", 0), ModelSettings(architecture=plain(NET)))
    pytorch_files.write_ckpt(portable, folder / "run.ckpt")
    state = torch.load(folder / "run.ckpt", weights_only=True)["state_dict"]
    torch.save(state, folder / "weights.pt")
    save_file({name: tensor.numpy() for name, tensor in state.items()}, folder / "weights.safetensors")
    build_twin(NET).save(folder / "model.keras")
    build_twin(NET).save_weights(folder / "model.weights.h5")
    write_events(folder / "log", [], scalars(["test/acc", "train/loss"], [(i, i, 0.5, 0.1 * i) for i in range(20)]))
    (event,) = (folder / "log").iterdir()
    event.rename(folder / "events.out.tfevents.1.a")
    (folder / "metrics.csv").write_text("epoch,step,val/acc\n" + "".join(f"{i},{i},0.{i}\n" for i in range(9)))
    (folder / "mistakes.csv").write_text("image,label,prediction\n" + "".join(f"{i},{i % 10},3\n" for i in range(9)))
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": {"architecture": plain(NET), "lr": 1e-3}}))
    (folder / "net.yaml").write_text(yaml.safe_dump(plain(NET)))
    images, labels = np.zeros((40, 8, 8), np.uint8), np.arange(40, dtype=np.uint8) % 4
    np.savez(folder / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(10_008)))
    page = np.full((120, 150), 250, np.uint8)
    page[30:90, 70:76] = 20
    for ending in PICTURES:
        Image.fromarray(page).save(folder / f"digit.{ending}")
    return folder


def damaged(content: bytes, random: np.random.Generator) -> bytes:
    """The content cut, flipped, spliced, zeroed, grown, or with a huge number in it; one to three times."""
    for _ in range(int(random.integers(1, 4))):
        size = max(1, len(content))
        at, length = int(random.integers(size)), int(random.integers(1, 64))
        kind = random.choice(
            ["cut", "flip", "splice", "zeros", "empty", "huge", "text"], p=[0.2, 0.3, 0.2, 0.1, 0.02, 0.1, 0.08]
        )
        if kind == "cut":
            content = content[:at]
        elif kind == "flip" and content:
            content = content[:at] + bytes([content[at] ^ (1 << int(random.integers(8)))]) + content[at + 1 :]
        elif kind == "splice":
            other = int(random.integers(size))
            content = content[:at] + content[other : other + length] + content[at + length * int(random.integers(2)) :]
        elif kind == "zeros":
            content = content[:at] + bytes(length) + content[at + length :]
        elif kind == "empty":
            content = b""
        elif kind == "huge":
            content = content[:at] + b"\xff\xff\xff\x7f" + content[at + 4 :]
        else:
            content = (
                content[:at] + random.choice(["[", "{", "nan", "\n", "\0", "é", "-1", "1e999"]).encode() + content[at:]
            )
    return content


@contextmanager
def limited_memory() -> Iterator[None]:
    """Gives this process 3 GB more than it has, where the system can; more is a MemoryError."""
    if not sys.platform.startswith("linux"):
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def outcome(read: Callable[[Path], object], path: Path) -> str:
    """What reading comes to: "read", "refused", or what must not be."""
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            read(path)
            found = "read"
        except UserError as error:
            found = "refused" if "\n" not in str(error) else f"more than a line: {error}"
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
    # A damaged weight may be no number, which numpy remarks on.
    others = {w.category.__name__ for w in told if not issubclass(w.category, UserNotice | RuntimeWarning)}
    found += f" with {', '.join(sorted(others))}" if others else ""
    return found if time.perf_counter() - began < 10 else f"{found} after more than 10 seconds"


def count(whole: Path, folder: Path, name: str, files: int) -> Counter[str]:
    """The outcomes of reading damaged files of a kind."""
    folder = folder / name
    folder.mkdir()
    content, found = (whole / name).read_bytes(), Counter[str]()
    for seed in range(files):
        (folder / name).write_bytes(damaged(content, np.random.default_rng(seed)))
        with limited_memory():
            one = outcome(READERS[name], folder / name)
        found[one] += 1
        if one not in ("read", "refused"):
            print(f"{name}, seed {seed}: {one}")
    return found


@pytest.mark.parametrize("name", READERS)
def test_a_whole_file_is_read_and_one_that_is_damaged_read_or_refused(whole, tmp_path, name):
    assert outcome(READERS[name], whole / name) in ("read", "refused")  # the labels' checksum is not MNIST's
    assert count(whole, tmp_path, name, 12).keys() <= {"read", "refused"}


@pytest.mark.faults
def test_thousands_of_damaged_files(whole, tmp_path, row):
    bad = Counter[str]()
    for name in READERS:
        found = count(whole, tmp_path, name, FILES // len(READERS) + 1)
        row(f"{found.total()} damaged {name}", ", ".join(f"{number} {what}" for what, number in found.most_common()))
        bad += Counter({f"{name}: {what}": n for what, n in found.items() if what not in ("read", "refused")})
    assert not bad
