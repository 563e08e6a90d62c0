"""Import order and tiny data for all tests."""

import contextlib
import gc
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from keras_parity import frameworks

gc.disable()  # until all is imported, see gc_paused
if "PYTEST_XDIST_WORKER" in os.environ:  # two processes on two cores: more threads would wait for one another
    os.environ["OMP_NUM_THREADS"] = os.environ["TF_NUM_INTRAOP_THREADS"] = "1"
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ |= frameworks.SETTINGS["tensorflow"]  # many tests import TensorFlow themselves
with contextlib.suppress(ImportError):
    import triton  # noqa: F401 - TensorFlow imported before it crashes the process
import numpy as np
import pytest
import torch  # noqa: F401 - likewise before TensorFlow
import yaml
from hypothesis import settings
from tensorboard.compat import tf2

tf2.summary  # noqa: B018 - loads TensorFlow's, before a Lightning command has TensorBoard do without

from cnn_mnist.data import mnist
from cnn_mnist.runs.folder import KERAS, PYTORCH

PROJECT = Path(__file__).parent.parent
_FINAL = {"train_eval/acc": 0.998, "train_eval/loss": 0.004, "test/acc": 0.991, "test/loss": 0.034}

settings.register_profile("no deadline", deadline=None)  # a machine may be busy
settings.load_profile("no deadline")


def bars(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images that a CNN can tell apart: a bright bar whose row says the digit, in noise."""
    generator = np.random.default_rng(seed)
    labels = np.arange(size, dtype=np.uint8) % 10
    images = generator.integers(0, 60, (size, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2 * label + 4 : 2 * label + 7, 6:22] = 255
    return images, labels


def save_npz(path: Path, *parts: np.ndarray) -> None:
    """Writes training images and labels, and test images and labels, as a user's own data set."""
    np.savez(path, **dict(zip(("x_train", "y_train", "x_test", "y_test"), parts, strict=True)))


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


_ROWS = pytest.StashKey[list[tuple[str, str]]]()


@pytest.fixture
def row(request):
    """Adds a row to the table of faults that ends the session."""
    return lambda fault, outcome: request.config.stash.setdefault(_ROWS, []).append((fault, outcome))


def pytest_terminal_summary(terminalreporter, config):
    for fault, outcome in config.stash.get(_ROWS, []):
        terminalreporter.write_line(f"{fault:44} {outcome}")


@pytest.fixture(scope="session")
def tiny_mnist() -> mnist.Mnist:
    """250 training and 70 test images, all ten digits."""
    return mnist.Mnist(*bars(250, seed=0), *bars(70, seed=1))


@pytest.fixture
def use_tiny_mnist(tiny_mnist, monkeypatch):
    """Has both trainers find the tiny set instead of MNIST."""
    monkeypatch.setattr(mnist, "load_mnist", lambda *_: tiny_mnist)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> Path:
    """A folder with the real MNIST files."""
    folder = tmp_path_factory.mktemp("data")
    mnist.load_mnist(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_file(tiny_mnist, tmp_path_factory) -> Path:
    """The tiny set as a user's own, for processes of their own."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.npz"
    save_npz(path, *tiny_mnist)
    return path


@pytest.fixture
def run_python(tmp_path):
    """Runs ``python ARGUMENTS`` in an empty folder, in a process of its own."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(PROJECT), "COLUMNS": "120"}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=900
        )

    return run


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs ``python -m PACKAGE ARGUMENTS`` in this process, in an empty folder; gives (exit code, out, err)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(package: str, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["__main__.py", *map(str, arguments)])
        code: object = 0
        try:
            importlib.import_module(f"{package}.__main__").main()
        except SystemExit as stop:
            code = stop.code
            if isinstance(code, str):  # as the interpreter does
                print(code, file=sys.stderr)
                code = 1
        out, err = capsys.readouterr()
        return (int(code or 0), out, err)  # type: ignore[call-overload]

    return run


@pytest.fixture(scope="session")
def _trained() -> dict[tuple[str, ...], Path]:
    """By command, the run folder that it left."""
    return {}


@pytest.fixture
def train(command, use_tiny_mnist, tmp_path, tmp_path_factory, _trained):
    """Trains, once for all tests that begin with the same command; gives the run folder, each test its own."""

    def run(package: str, *flags: str) -> Path:
        runs = tmp_path / "lightning_logs" / {"cnn_mnist": PYTORCH, "keras_parity": KERAS}[package]
        folder = runs / f"version_{len(list(runs.glob('*')))}"
        words = (package, *flags)
        if words in _trained:
            return shutil.copytree(_trained[words], folder)
        code, _, err = command(*words)
        assert code == 0, err
        _trained[words] = shutil.copytree(folder, tmp_path_factory.mktemp("trained") / "run")
        return folder

    return run


MACHINE = {"device": "cpu", "cpu": "of a test", "cores": 2}
"""What made-up runs ran on; None for runs whose hardware is unknown."""


@pytest.fixture
def make_run(tmp_path):
    """Makes a run folder of the contract; unnamed values are those of a good run.

    Without ``epochs`` it is one of the published experiment's ten, of which two are logged.
    """

    def make(framework, version=0, *, epochs=None, finished=True, settings=None, seed=0, environment=MACHINE, **values):
        folder = tmp_path / "lightning_logs" / framework / f"version_{version}"
        from torch.utils.tensorboard import SummaryWriter

        told, epochs = epochs or 10, epochs or 2
        writer = SummaryWriter(folder)
        writer.add_scalar("weights/parameters", 93_322, 0)
        writer.add_scalar("time/setup_seconds", 5.0, 1)
        for epoch in range(1, epochs + 1):
            step = 938 * epoch
            for tag, value in {"train/loss": 0.1 / epoch, "train/acc": 1 - 0.01 / epoch}.items():
                writer.add_scalar(tag, values.get(tag, value), step)
            writer.add_scalar("time/epoch_seconds", 9.38, step)
            writer.add_scalar("throughput/images_per_second", 60_000 / 9.38, step)
        if finished:
            writer.add_scalar("time/fit_seconds", 9.38 * epochs, step)
            for tag, value in _FINAL.items():
                writer.add_scalar(tag, values.get(tag, value), step)
        writer.close()
        config = {
            "seed_everything": seed,
            "trainer": {"max_epochs": told, "precision": None if framework == "pytorch" else "32-true"},
            "model": {"architecture": "three_conv", "align": "keras"} | (settings or {}),
            "data": {"data_dir": framework, "batch_size": 64, "val_size": 0},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        if environment is not None:
            (folder / "environment.yaml").write_text(yaml.safe_dump(environment))
        return folder

    return make
