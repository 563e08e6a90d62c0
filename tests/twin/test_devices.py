"""The twin on several devices trains as on one; on a CPU, JAX splits it into devices."""

import math

import numpy as np
import pytest
import yaml

from tests.lives import NET, QUIET, left_by

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


@pytest.mark.parametrize("devices", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_more_devices_train_as_one_does_with_batch_norm_dropout_and_augmentation(trained_on, tmp_path, devices):
    runs = tmp_path / "lightning_logs/keras_jax"
    for count in (1, devices):
        answer = trained_on(count)
        assert answer.returncode == 0, answer.stderr
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
    assert answer.stderr.endswith("error: --data.batch_size: expected a multiple of --trainer.devices=5, got 72\n")
    assert answer.stderr.count("\n") == 1


@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_a_backend_that_takes_one_device_says_so(run_python, backend):
    answer = run_python("-m", "keras_parity", f"--backend={backend}", "--trainer.devices=2")
    assert answer.returncode == 1
    assert "--trainer.devices: expected 1 on " in answer.stderr
    assert "--backend=jax takes more, got 2" in answer.stderr
