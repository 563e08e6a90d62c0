"""The twin on several devices, or in several processes, trains as on one; on a CPU, JAX splits it into devices."""

import math
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import yaml

from tests.conftest import PROJECT
from tests.lives import NET, QUIET, check_same, left_by
from tests.twin.one_life import DEAD

pytest.importorskip("jax")
FLAGS = (*QUIET, "--data.batch_size=72", "--data.shift=2", "--trainer.precision=64-true", "--trainer.max_epochs=2")
"""Not all batches of 250 images divide into two or three equal shares."""


@pytest.fixture
def trained_on(run_python, tmp_path, tiny_file):
    (tmp_path / "net.yaml").write_text(NET)

    def train(devices, *flags):
        count = f"--trainer.devices={devices}"
        return run_python("-m", "keras_parity", "--backend=jax", count, f"--data.file={tiny_file}", *FLAGS, *flags)

    return train


@pytest.fixture
def trained_by_two(tmp_path, tiny_file):
    """Trains in two processes, which end after a step; gives each one's output."""

    def train(step, *flags):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        started = []
        for place in range(2):
            names = {"JOB_ADDRESSES": address, "NUM_PROCESSES": "2", "PROCESS_ID": str(place)}
            launched = {f"KERAS_DISTRIBUTION_{name}": value for name, value in names.items()}
            environment = os.environ | launched | {"PYTHONPATH": str(PROJECT), "KERAS_BACKEND": "jax"}
            command = [sys.executable, "-m", "tests.twin.one_life", str(step), *flags]
            output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            started.append(subprocess.Popen(command, cwd=tmp_path, env=environment, **output))
        outputs = [process.communicate(timeout=300)[0] for process in started]
        assert [process.returncode for process in started] == [DEAD if step else 0] * 2, outputs
        return outputs

    return train


@pytest.mark.parametrize("devices", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_more_devices_train_as_one_does_with_batch_norm_dropout_and_augmentation(trained_on, tmp_path, devices):
    for count in (1, devices):
        answer = trained_on(count)
        assert answer.returncode == 0, answer.stderr
    check_close(tmp_path / "lightning_logs/keras_jax", devices)


@pytest.mark.slow
def test_two_processes_train_as_one_does_and_the_first_one_writes(trained_on, trained_by_two, tmp_path, tiny_file):
    assert trained_on(1).returncode == 0
    first, second = trained_by_two(0, f"--data.file={tiny_file}", *FLAGS)
    assert "test set, final weights" in first
    assert [line for line in second.splitlines() if not line.startswith("[Gloo]")] == []
    runs = tmp_path / "lightning_logs/keras_jax"
    assert sorted(path.name for path in runs.iterdir()) == ["version_0", "version_1"]
    check_close(runs, 2)


@pytest.mark.slow
def test_two_processes_that_are_killed_go_on_to_the_bit(trained_by_two, tmp_path, tiny_file):
    (tmp_path / "net.yaml").write_text(NET)
    trained_by_two(0, f"--data.file={tiny_file}", *FLAGS)
    trained_by_two(3, f"--data.file={tiny_file}", *FLAGS, "--checkpoint_every=2")
    trained_by_two(6, "--resume=last")
    trained_by_two(0, "--resume=last")
    check_same(*(tmp_path / f"lightning_logs/keras_jax/version_{n}" for n in range(2)))


def check_close(runs, devices):
    one, more = (left_by(runs / f"version_{version}") for version in range(2))
    assert one[0].keys() == more[0].keys()
    apart = max(np.abs(one[0][name] - more[0][name]).max(initial=0) for name in one[0])
    assert 0 < apart < 1e-10
    for tag, points in one[2].items():
        for (step, value), (other_step, other) in zip(points, more[2][tag], strict=True):
            assert step == other_step
            assert math.isclose(value, other, rel_tol=1e-6), tag  # an event file holds float32
    assert one[3:] == more[3:]
    environments = [yaml.safe_load((runs / f"version_{n}/environment.yaml").read_text()) for n in range(2)]
    assert [environment["device"] for environment in environments] == ["cpu", f"{devices} x cpu"]


def test_a_batch_that_the_devices_cannot_share_is_one_line(trained_on):
    answer = trained_on(5)
    assert answer.returncode == 1
    assert answer.stderr.endswith("error: --data.batch_size: expected a multiple of the 5 devices, got 72\n")
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_a_backend_that_takes_one_device_says_so(run_python, backend):
    answer = run_python("-m", "keras_parity", f"--backend={backend}", "--trainer.devices=2")
    assert answer.returncode == 1
    assert "--trainer.devices: expected 1 on " in answer.stderr
    assert "--backend=jax takes more, got 2" in answer.stderr


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"NUM_PROCESSES": "two"}, "NUM_PROCESSES: expected a number of processes, got two"),
        ({"NUM_PROCESSES": "2"}, "PROCESS_ID: expected a number from 0 to 1, got none"),
        ({"NUM_PROCESSES": "2", "PROCESS_ID": "2"}, "PROCESS_ID: expected a number from 0 to 1, got 2"),
        ({"NUM_PROCESSES": "2", "PROCESS_ID": "1"}, "JOB_ADDRESSES: expected host:port of the first process, got none"),
    ],
)
def test_a_wrong_variable_of_the_launcher_is_one_line(run_python, monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(f"KERAS_DISTRIBUTION_{name}", value)
    answer = run_python("-m", "keras_parity", "--backend=jax")
    assert answer.returncode == 1
    assert answer.stderr == f"python -m keras_parity: error: KERAS_DISTRIBUTION_{message}\n"
