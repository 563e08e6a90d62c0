"""Files that declare what they do not hold: refused in one line, within 3 GB and 10 seconds each."""

import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from cnn_mnist.runs.recorder import masked_crc
from tests.conftest import PROJECT

_READ = """
import sys
from pathlib import Path
from tests.faults.readers import READERS, limited_memory, outcome
for path in map(Path, sys.argv[1:]):
    with limited_memory():
        found, _ = outcome(READERS[path.parent.name], path)
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]
    print(path.name, "|", found, "|", peak, flush=True)
"""


def _zipped(members: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return content.getvalue()


def _h5(shape: tuple[int, ...]) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file.create_dataset("layers/dense/vars/0", shape, "f4", chunks=True)
    return content.getvalue()


def _keras(config: object, weights: bytes = b"") -> bytes:
    members = {"config.json": json.dumps(config).encode(), "metadata.json": b"{}", "model.weights.h5": weights}
    return _zipped(members)


def _tensors(tensor: torch.Tensor) -> bytes:
    content = io.BytesIO()
    torch.save(
        {"state_dict": {"network.conv1.weight": tensor}, "hyper_parameters": {"architecture": "three_conv"}}, content
    )
    return content.getvalue()


def _dense(units: int) -> dict[str, object]:
    """A branching model of two large layers."""
    layers = [{"class_name": "InputLayer", "config": {"batch_shape": [None, 8], "name": "i"}, "inbound_nodes": []}]
    for name in ("a", "b"):
        history = {"class_name": "__keras_tensor__", "config": {"keras_history": ["i", 0, 0], "shape": [None, 8]}}
        node = {"args": [history], "kwargs": {}}
        config = {"name": name, "units": units}
        layers.append({"class_name": "Dense", "config": config, "name": name, "inbound_nodes": [node]})
    ends = {"input_layers": [["i", 0, 0]], "output_layers": [["a", 0, 0], ["b", 0, 0]]}
    return {"class_name": "Functional", "config": {"layers": layers, **ends}}


def _record(content: bytes) -> bytes:
    length = len(content).to_bytes(8, "little")
    crcs = (masked_crc(part).to_bytes(4, "little") for part in (length, content))
    return length + next(crcs) + content + next(crcs)


def _laughs() -> bytes:
    """A pickle of a dict whose key holds a tuple twice, which holds another twice, forty times over."""
    twice = (b"0h%ch%c\x86q%c" % (number, number, number + 1) for number in range(40))
    return b"\x80\x02K\x01q\x00" + b"".join(twice) + b"0}h\x28Ns."


def hostile() -> Iterator[tuple[str, str, bytes]]:
    """Yields the kind of reader, the name of a case, and its content."""
    pickles = {
        "memo": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "ovf": b"\x80\x04\x8d" + b"\xff" * 8 + b".",
        "bytearray": b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x02\x85R.",
        "deep": b"\x80\x02" + b"(" * 500_000 + b"l" * 500_000 + b".",
    }
    for name, pickled in pickles.items():
        for kind in ("run.ckpt", "weights.pt"):
            yield kind, name, _zipped({"archive/data.pkl": pickled, "archive/version": b"3"})
        yield "weights.pt", f"plain_{name}", pickled
    yield "weights.pt", "plain_old", pickle.dumps({"a": 1})
    legacy = io.BytesIO()
    torch.save({"a": torch.zeros(70_000)}, legacy, _use_new_zipfile_serialization=False)
    yield "legacy.pt", "declares", legacy.getvalue().replace((70_000).to_bytes(4, "little"), b"\xff\xff\xff\x7f")
    start = (torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {})
    yield "legacy.pt", "laughs", b"".join(pickle.dumps(part, 2) for part in start) + _laughs() + pickle.dumps([], 2)
    for kind in ("run.ckpt", "weights.pt", "net.ckpt"):
        yield kind, "laughs", _zipped({"archive/data.pkl": _laughs(), "archive/version": b"3"})
    for kind in ("run.ckpt", "weights.pt"):
        yield kind, "repeats", _tensors(torch.zeros(1).expand(2_000_000_000))
        yield kind, "repeats_half", _tensors(torch.zeros(1, dtype=torch.float16).expand(4_000_000_000))
        yield kind, "zeros", _zipped({"archive/data.pkl": b"N.", "archive/data/0": bytes(300_000_000)})
    yield "model.keras", "wide", _keras(_dense(4_000_000))
    yield "model.keras", "json", _zipped({"config.json": b"[" + b"1," * 50_000_000 + b"1]", "model.weights.h5": b""})
    yield "model.keras", "metadata", _zipped({"config.json": b"{}", "metadata.json": b" " * 200_000_000})
    sequential = {"class_name": "Sequential", "config": {"layers": [
        {"class_name": "InputLayer", "config": {"batch_shape": [None, 8, 8, 1]}},
        {"class_name": "Flatten", "config": {}}, {"class_name": "Dense", "config": {"units": 10}},
    ]}}  # fmt: skip
    yield "model.keras", "declares", _keras(sequential, _h5((900_000_000,)))
    yield "model.weights.h5", "declares", _h5((900_000_000,))
    yield "model.weights.h5", "declares_more", _h5((2**40, 2**10))
    yield "net.yaml", "flat", b"[" + b"a," * 4_000_000 + b"a]"
    yield "net.yaml", "deep", b"[" * 1_000_000
    yield "config.yaml", "flat", b"a: [" + b"1," * 4_000_000 + b"1]"
    yield "metrics.csv", "wide", b"epoch," + b"1," * 50_000_000
    yield "metrics.csv", "quoted", b"epoch,loss\n" + b'"1\n",' * 10_000_000
    yield "events.out.tfevents.1.a", "values", _record(b"\x2a\x80\x8e\xce\x1c" + b"\x0a\x00" * 30_000_000)
    header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|u1', 'fortran_order': False, 'shape': (3000000000, 1, 1), }"
    yield (
        "data.npz",
        "declares",
        _zipped({f"{n}.npy": header.ljust(128) for n in ("x_train", "y_train", "x_test", "y_test")}),
    )
    zeros = io.BytesIO()
    np.savez_compressed(zeros, **{n: np.zeros((30_000, 100, 100), np.uint8) for n in ("x_train", "y_train", "x_test")})
    yield "data.npz", "zeros", zeros.getvalue()


def read(folder: Path, paths: list[Path]) -> list[list[str]]:
    """Reads files in a process with a limit on its memory; gives name, outcome and peak in KiB of each."""
    command = [sys.executable, "-c", _READ, *map(str, paths)]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "MALLOC_ARENA_MAX": "2"}
    answer = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr[-2000:]
    return [line.split(" | ") for line in answer.stdout.splitlines()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures memory in /proc")
def test_no_file_takes_more_than_a_bound_of_memory(tmp_path):
    cases = list(hostile())
    paths = []
    for number, (kind, name, content) in enumerate(cases):
        folder = tmp_path / f"{number}_{name}" / kind
        folder.mkdir(parents=True)
        (folder / kind).write_bytes(content)
        paths.append(folder / kind)
    with (tmp_path / "huge.yaml").open("wb") as sparse:
        sparse.truncate(100 * 2**30)
    (tmp_path / "sparse/net.yaml").mkdir(parents=True)
    (tmp_path / "huge.yaml").rename(tmp_path / "sparse/net.yaml/net.yaml")
    paths.append(tmp_path / "sparse/net.yaml/net.yaml")
    found = read(tmp_path, paths)
    assert len(found) == len(paths)
    bad = [
        (str(path.parent.parent.name), line)
        for path, line in zip(paths, found, strict=True)
        if line[1] not in ("refused", "read")
    ]
    assert not bad
    assert max(int(line[2]) for line in found) < 2_500_000  # KiB, of which the imports are 700,000
