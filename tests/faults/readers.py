"""Every reader of files of others, a whole file for each, and what reading one comes to."""

import contextlib
import functools
import gzip
import io
import json
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image
from safetensors.numpy import save_file

from cnn_mnist.architecture.descriptions import plain, read_network
from cnn_mnist.data import idx_files, npz
from cnn_mnist.data.digits.read import read_digits
from cnn_mnist.data.mnist import Mnist
from cnn_mnist.errors import UserError, UserNotice
from cnn_mnist.runs.folder import HPARAMS, read_config
from cnn_mnist.runs.mistakes import read_mistakes
from cnn_mnist.settings import ModelSettings
from keras_parity.convert import keras_files, pytorch_files, state_dicts
from keras_parity.convert.portable import Portable
from keras_parity.logs.csv_files import is_csv_log, read_csv
from keras_parity.logs.event_files import read_scalars
from keras_parity.logs.run import read_run
from keras_parity.settings import twin_settings
from keras_parity.twin import cli
from tests.faults.damage import damaged, damaged_inside

MOST = 3 * 2**30
"""Bytes that a file may take beyond what the imports take."""

NET = read_network([{"Conv2D": {"filters": 2, "kernel_size": 3}}, "BatchNormalization", "Flatten", {"Dense": 10}])
PICTURES = ("png", "jpg", "gif", "bmp", "webp", "tif")


def _events(path: Path) -> object:
    return read_scalars(path.parent)


def _csv(path: Path) -> object:
    return is_csv_log(path) and read_csv(path)


@functools.cache
def _parser() -> cli.Parser:
    return cli.build_parser()


def _settings(path: Path) -> object:
    """A settings file of the twin; a mistake ends the command with one line on stderr."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return _parser().parse_args(["--config", str(path)])
    except SystemExit:
        raise UserError(said.getvalue().removesuffix("\n")) from None


def _fit_settings(path: Path) -> object:
    """A settings file of ``fit``."""
    from cnn_mnist.pytorch.cli import Classifier, MNISTDataModule, Parser
    from cnn_mnist.pytorch.cli_arguments import Arguments

    class OnlyParses(Arguments):
        def instantiate_classes(self) -> None: ...

        def _run_subcommand(self, subcommand: str) -> None: ...

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), warnings.catch_warnings(action="ignore"):  # arguments from Python
            return OnlyParses(
                ["fit", f"--config={path}"], model_class=Classifier, datamodule_class=MNISTDataModule,
                parser_class=Parser, auto_configure_optimizers=False, load_from_checkpoint_support=False,
            )  # fmt: skip
    except SystemExit:
        raise UserError(said.getvalue().removesuffix("\n")) from None


READERS: dict[str, Callable[[Path], object]] = {
    "run.ckpt": pytorch_files.read_ckpt,
    "stock.ckpt": lambda path: state_dicts.read_lightning(path, NET),
    "weights.pt": lambda path: state_dicts.read_state_dict(path, NET),
    "legacy.pt": lambda path: state_dicts.read_state_dict(path, NET),
    "weights.pth": lambda path: state_dicts.read_state_dict(path, NET),
    "weights.safetensors": lambda path: state_dicts.read_state_dict(path, NET),
    "model.keras": keras_files.read_keras,
    "model.weights.h5": lambda path: keras_files.read_h5(path, NET),
    "events.out.tfevents.1.a": _events,
    "metrics.csv": _csv,
    "mistakes.csv": lambda path: read_mistakes(path.parent),
    "config.yaml": lambda path: read_config(path.parent),
    "environment.yaml": lambda path: read_run(path.parent),
    HPARAMS: lambda path: (read_config(path.parent, HPARAMS), read_run(path.parent)),
    "twin_of/config.yaml": lambda path: twin_settings(path.parent),
    "settings.yaml": _settings,
    "fit.yaml": _fit_settings,
    "net.yaml": lambda path: read_network(str(path)),
    "net.ckpt": lambda path: read_network(str(path)),
    "net.keras": lambda path: read_network(str(path)),
    "net.safetensors": lambda path: read_network(str(path)),
    "data.npz": npz.load,
    "t10k-labels-idx1-ubyte.gz": lambda path: idx_files.read_file(path, path.stem, "mnist"),
    "t10k-labels-idx1-ubyte": lambda path: idx_files.read_file(path, path.stem, "mnist"),
    **{f"digit.{ending}": lambda path: read_digits([path]) for ending in PICTURES},
    "pages.tif": lambda path: read_digits([path]),
    "pages.gif": lambda path: read_digits([path]),
    "input.jpg": lambda path: read_digits([path], shape=(32, 32, 3)),
}
"""How each kind of file is read, by the name that it has."""

EXACT = ("run.ckpt", "stock.ckpt", "weights.pt", "weights.pth", "model.keras", "data.npz")
"""Kinds whose checksums cover all of their content."""


def write_whole_files(folder: Path) -> None:
    """Writes a whole file of each kind."""
    from cnn_mnist.architecture.initial_weights import initial_weights
    from keras_parity.logs.event_writer import scalars, write_events
    from keras_parity.twin.network import build_twin

    portable = Portable(initial_weights(NET, "keras", 0), ModelSettings(architecture=plain(NET)))
    pytorch_files.write_ckpt(portable, folder / "run.ckpt")
    state = torch.load(folder / "run.ckpt", weights_only=True)["state_dict"]
    torch.save({"state_dict": state, "epoch": 3, "hyper_parameters": {"lr": 0.1}}, folder / "stock.ckpt")
    for name in ("weights.pt", "weights.pth", "legacy.pt"):
        torch.save(state, folder / name, _use_new_zipfile_serialization=name != "legacy.pt")
    save_file({name: tensor.numpy() for name, tensor in state.items()}, folder / "weights.safetensors")
    pytorch_files.write_state_dict(portable, folder / "net.safetensors")
    build_twin(NET).save(folder / "model.keras")
    build_twin(NET).save_weights(folder / "model.weights.h5")
    for ending in (".ckpt", ".keras"):
        source = "run.ckpt" if ending == ".ckpt" else "model.keras"
        (folder / f"net{ending}").write_bytes((folder / source).read_bytes())
    write_events(folder / "log", [], scalars(["test/acc", "train/loss"], [(i, i, 0.5, 0.1 * i) for i in range(20)]))
    (event,) = (folder / "log").iterdir()
    event.rename(folder / "events.out.tfevents.1.a")
    (folder / "metrics.csv").write_text("epoch,step,val/acc\n" + "".join(f"{i},{i},0.{i}\n" for i in range(9)))
    (folder / "mistakes.csv").write_text("image,label,prediction\n" + "".join(f"{i},{i % 10},3\n" for i in range(9)))
    settings = {"seed_everything": 1, "model": {"architecture": plain(NET), "learning_rate": 1e-3}}
    settings |= {"data": {"batch_size": 32}, "trainer": {"max_epochs": 2}}
    (folder / "twin_of").mkdir()
    for name in ("config.yaml", "twin_of/config.yaml", "settings.yaml", "fit.yaml"):
        (folder / name).write_text(yaml.safe_dump(settings))
    (folder / HPARAMS).write_text(yaml.safe_dump({"lr": 1e-3, "optimizer": {"name": "adam", "betas": [0.9, 0.99]}}))
    (folder / "environment.yaml").write_text(yaml.safe_dump({"device": "cpu", "packages": {"torch": "2.0"}}))
    (folder / "net.yaml").write_text(yaml.safe_dump(plain(NET)))
    images, labels = np.zeros((40, 8, 8), np.uint8), np.arange(40, dtype=np.uint8) % 4
    np.savez(folder / "data.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\x27\x10" + bytes(10_000))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(10_008)))
    page = np.full((120, 150), 250, np.uint8)
    page[30:90, 70:76] = 20
    picture = Image.fromarray(page)
    for ending in PICTURES:
        picture.save(folder / f"digit.{ending}")
    for ending in ("tif", "gif"):
        picture.save(folder / f"pages.{ending}", save_all=True, append_images=[Image.fromarray(255 - page), picture])
    picture.convert("RGB").save(folder / "input.jpg")


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


def outcome(read: Callable[[Path], object], path: Path) -> tuple[str, object]:
    """What reading comes to, "read", "refused" or what must not be; and its result."""
    began, result = time.perf_counter(), None
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            result = read(path)
            found = "read"
        except UserError as error:
            found = "refused" if "\n" not in str(error) else f"more than a line: {error}"
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
    # A damaged weight may be no number, which numpy remarks on.
    others = {w.category.__name__ for w in told if not issubclass(w.category, UserNotice | RuntimeWarning)}
    found += f" with {', '.join(sorted(others))}" if others else ""
    return (found if time.perf_counter() - began < 10 else f"{found} after more than 10 seconds"), result


def peak() -> int:
    """The most memory that this process has had, in KiB, since ``forget_peak``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def forget_peak() -> None:
    """Has the system measure the most memory from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def read_damaged(whole: Path, folder: Path, name: str, files: int) -> dict[str, list[int]]:
    """Reads damaged files of a kind; gives the seeds of each outcome.

    A file with checksums whose damage they cover is read as the whole one, or refused.
    """
    path, content, seeds = folder / name, (whole / name).read_bytes(), defaultdict[str, list[int]](list)
    path.parent.mkdir(parents=True, exist_ok=True)
    expected = content_of(outcome(READERS[name], whole / name)[1])
    for seed in range(files):
        inside = seed % 2
        path.write_bytes((damaged_inside if inside else damaged)(content, np.random.default_rng(seed)))
        with limited_memory():
            found, result = outcome(READERS[name], path)
        if name in EXACT and found == "read" and not inside and content_of(result) != expected:
            found = "read as something else"
        seeds[found].append(seed)
    path.unlink()
    return seeds


def content_of(result: object) -> object:
    """The arrays that a reader gives, as bytes by name; None of other results."""
    first = result[0] if isinstance(result, tuple) else result
    if isinstance(first, Portable):
        return {name: array.tobytes() for name, array in first.weights.items()}, asdict(first.settings)
    return [array.tobytes() for array in result] if isinstance(result, Mnist) else None


def main(whole: str, folder: str, files: str) -> None:
    """Reads damaged files of all kinds, and prints kind, outcome, number, first seed, peak in KiB, and seconds."""
    for name in READERS:
        forget_peak()
        before, began = peak(), time.perf_counter()
        found = read_damaged(Path(whole), Path(folder), name, int(files))
        measured = peak() - before, round(time.perf_counter() - began)
        for one, seeds in found.items():
            print(json.dumps([name, one, len(seeds), seeds[0], *measured]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
