"""Faults that once cost data, memory or a traceback, each injected again; the table says what happened then and now."""

import contextlib
import gzip
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from tests.conftest import PROJECT

pytestmark = pytest.mark.faults

QUICK = ("--trainer.max_epochs=1", "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu")
CKPT, KERAS = "lightning_logs/pytorch/version_0", "lightning_logs/keras/version_0"
LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))
EVIL = "from pathlib import Path\nPath('ran').touch()\nclass Foo: pass\n"


class Runs:
    """Touches a file when it is unpickled."""

    def __reduce__(self):
        return Path("ran").touch, ()


@pytest.fixture
def home(command, use_tiny_mnist, tmp_path):
    """A folder with a run of each framework."""
    assert command("cnn_mnist", "fit", *QUICK, "--trainer.enable_model_summary=false")[0] == 0
    assert command("keras_parity", *QUICK, "--trainer.enable_model_summary=false")[0] == 0
    return tmp_path


@pytest.fixture
def told(row):
    """Checks that a command ended in one line, and adds it to the table beside what it once did."""

    def check(number, fault, before, answer, code=1):
        came, _, err = answer
        assert came == code, err
        assert err.count("\n") == 1 or not code, err
        row(
            f"row {number}: {fault}",
            f"{before}; now {f'{err.strip()[:100]}...' if code else 'it goes on'}",
        )
        return err

    return check


@pytest.fixture
def apart(tmp_path):
    """Runs a command in a process of its own, in at most 10 seconds behind its imports and 1.5 GB."""

    def run(*words, most=None):
        def limit():
            if most is not None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

        environment = os.environ | {"PYTHONPATH": str(PROJECT), "COLUMNS": "200"}
        command = [sys.executable, "-m", *map(str, words)]
        began, peak = time.perf_counter(), 0
        kept = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, cwd=tmp_path, env=environment, preexec_fn=limit, **kept) as process:
            while process.poll() is None:
                with contextlib.suppress(OSError, IndexError):
                    status = Path(f"/proc/{process.pid}/status").read_text()
                    peak = max(peak, int(status.partition("VmHWM:")[2].split()[0]))
                time.sleep(0.05)
            out, err = process.communicate()
        assert time.perf_counter() - began < 30
        assert peak < 1_500_000
        assert "Traceback" not in err
        return process.returncode, out, err

    return run


def checkpoint(home, framework=CKPT):
    (file,) = (home / framework / "checkpoints").iterdir()
    return file


def test_an_empty_file_of_mistakes(home, apart, told):
    (home / CKPT / "mistakes.csv").write_text("")
    answer = apart("keras_parity", "compare")
    told(2, "mistakes.csv of 0 bytes", "compare and study ended for all runs", answer, 0)
    assert "image,label,prediction" in answer[1]


def test_a_converter_whose_target_is_its_source(home, command, told):
    file = checkpoint(home)
    before = file.read_bytes()
    told(7, "convert x.ckpt x.ckpt", "optimizer and epoch gone", command("keras_parity", "convert", file, file))
    assert file.read_bytes() == before


@pytest.mark.parametrize("ending", [".keras", ".pt", ".safetensors", ".weights.h5"])
def test_a_converter_on_a_full_disk(home, apart, told, ending, data_dir):
    target = home / f"old{ending}"
    target.write_text("what was there")
    answer = apart("keras_parity", "convert", checkpoint(home), target, f"--data.data_dir={data_dir}", most=20_000)
    told(9, f"convert to {ending} on a full disk", "traceback, old target destroyed", answer)
    assert target.read_text() == "what was there"
    assert not list(home.glob(".*old*"))


def test_a_newest_checkpoint_that_is_half(home, command, told):
    good = checkpoint(home)
    half = good.with_name("epoch=9-step=9.ckpt")
    half.write_bytes(good.read_bytes()[:90_000])
    Image.fromarray(np.pad(np.zeros((20, 4), np.uint8), 10, constant_values=255)).save(home / "one.png")
    answer = command("cnn_mnist", "predict", f"--ckpt_path={CKPT}", "one.png")
    assert good.name in told(12, "a half checkpoint, newer than a good one", "refused", answer, 0)


@pytest.mark.parametrize("text", ["model: [1]", "trainer: hi", "seed_everything: [1]"])
def test_a_config_of_another_form(home, command, told, text):
    (home / CKPT / "config.yaml").write_text(text)
    told(18, f"config.yaml with {text}", "traceback", command("keras_parity", "compare"), 0)


HYPER = {"a list": [1], "a forged _instantiator": {"_instantiator": "os.system"}, "a number": 3}


@pytest.mark.parametrize("kind", HYPER)
def test_a_checkpoint_with_other_settings(home, command, told, kind):
    held = torch.load(checkpoint(home), weights_only=True)
    torch.save(held | {"hyper_parameters": HYPER[kind]}, home / "bad.ckpt")
    for words in (("cnn_mnist", "test"), ("cnn_mnist", "fit")):
        told(19, f"{words[1]} a .ckpt whose settings are {kind}", "traceback", command(*words, "--ckpt_path=bad.ckpt"))
    told(
        19,
        f"convert a .ckpt whose settings are {kind}",
        "traceback",
        command("keras_parity", "convert", "bad.ckpt", "a.pt"),
    )


def test_a_config_that_names_a_module_beside_it(home, command, told):
    (home / "evil_local.py").write_text(EVIL)
    (home / "bad.yaml").write_text("trainer:\n  callbacks:\n  - class_path: evil_local.Foo\n")
    told(20, "YAML that names evil_local.Foo", "its code ran", command("cnn_mnist", "fit", "--config=bad.yaml"), code=2)
    assert not (home / "ran").exists()


@pytest.mark.parametrize("words", [("cnn_mnist", "fit"), ("keras_parity",)])
def test_yaml_that_multiplies(home, apart, told, words):
    (home / "bomb.yaml").write_text(LAUGHS)
    before = "no end, 3 GB and rising"
    told(21, f"{words[0]} --config=bomb.yaml", before, apart(*words, "--config=bomb.yaml"))
    (home / CKPT / "config.yaml").write_text(LAUGHS)
    told(21, "compare a run whose config.yaml multiplies", before, apart("keras_parity", "compare"), 0)


def test_a_small_keras_file_of_a_huge_layer(home, apart, told):
    with zipfile.ZipFile(checkpoint(home, KERAS)) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(held["config.json"])
    config["config"]["layers"][-1]["config"]["units"] = 10_000_000
    held["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(home / "huge.keras", "w") as archive:
        for name, content in held.items():
            archive.writestr(name, content)
    told(
        22, ".keras with a layer of 10,000,000 units", "8.1 GB", apart("keras_parity", "convert", "huge.keras", "a.pt")
    )


def test_a_small_gz_file_of_any_number_of_bytes(tmp_path, apart, told):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(200_000_000), 1) * 10)
    told(23, ".gz of 2 GB of zeros", "4.8 GB, 14 s", apart("cnn_mnist", "fit", "--data.data_dir=data"))


def test_a_small_picture_of_any_number_of_pixels(home, apart, told):
    Image.new("1", (13_300, 13_300)).save(home / "large.png")
    answer = apart("cnn_mnist", "predict", f"--ckpt_path={CKPT}", "large.png")
    told(24, "PNG of 13,300 x 13,300", "3.0 GB, 10.8 s", answer)


@pytest.mark.parametrize("flag", ["--output=a.csv", "--output=a.html", "--figure=a.png"])
def test_a_comparison_on_a_full_disk(home, apart, told, flag):
    answer = apart("keras_parity", "compare", flag, most=0)
    assert "None" not in told(25, f"compare {flag} on a full disk", "got None, an empty file", answer)
    assert not list(home.glob("a.*"))


def test_a_pickle_that_runs_code(home, command, told):
    (home / "bad.pt").write_bytes(pickle.dumps({"weight": Runs()}, protocol=2))
    answer = command("keras_parity", "convert", "bad.pt", "a.keras", "--model.architecture=three_conv")
    assert "weights_only" not in told(26, "a pickle that runs code", "advice to let it run", answer)
    assert not (home / "ran").exists()


def test_weights_that_link_to_another_file(home, command, told):
    with h5py.File(home / "bad.weights.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("other.h5", "/")
    answer = command("keras_parity", "convert", "bad.weights.h5", "a.pt", "--model.architecture=three_conv")
    told(29, "HDF5 that links to another file", "another reason was given", answer)


def test_a_config_as_yaml_that_is_none(home, command, told):
    (home / KERAS / "config.yaml").write_bytes(yaml.safe_dump({"a": 1}).encode("utf-16"))
    told(18, "config.yaml in UTF-16", "traceback", command("keras_parity", "compare"), 0)
