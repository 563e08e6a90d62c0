"""The twin computes the same on each of Keras's backends."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from keras_parity.convert.keras_files import read_keras
from keras_parity.convert.pytorch_files import read_ckpt
from keras_parity.frameworks import RUN_NAMES
from tests.conftest import PROJECT, save_npz
from tests.twin.engine_cases import CASES, LENGTH, QUIET

LIMIT = 1e-10
SOME = ["three_conv-rmsprop-constant", "mnist_convnet-adam-one_cycle", "batch_norm-nesterov-constant"]
OTHERS = [backend for backend in RUN_NAMES if backend != "tensorflow"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Trains cases on a backend of Keras, or in PyTorch, 200 updates in float64; gives the weights of one case."""
    home = tmp_path_factory.mktemp("engines")
    generator = np.random.default_rng(0)
    parts = [(generator.integers(0, 256, (n, 28, 28), np.uint8), np.arange(n, dtype=np.uint8) % 10) for n in (400, 50)]
    save_npz(home / "tiny.npz", *parts[0], *parts[1])

    def train(name, cases):
        if name == "pytorch":
            fit = ["cnn_mnist", "fit", "--data.file=tiny.npz", *QUIET, *LENGTH]
            commands = [[*fit, f"--trainer.logger.save_dir=logs/{case}", *CASES[case]] for case in cases]
        else:
            commands = [["tests.twin.engine_cases", name, "tiny.npz", *cases]]
        for command in commands:
            environment = os.environ | {"PYTHONPATH": str(PROJECT)}
            answer = subprocess.run(
                [sys.executable, "-m", *command], cwd=home, env=environment, capture_output=True, text=True, check=False
            )
            assert answer.returncode == 0, answer.stderr
        return {case: home / "logs" / case / RUN_NAMES.get(name, name) for case in cases}

    return train


def weights_of(runs: Path):
    (file,) = [path for path in runs.rglob("checkpoints/*") if path.suffix in (".keras", ".ckpt")]
    read = read_keras if file.suffix == ".keras" else read_ckpt
    return read(file)[0].weights


def the_same_everywhere(trained, cases):
    runs = {name: trained(name, cases) for name in ("pytorch", *RUN_NAMES)}
    apart = {}
    for case in cases:
        expected = weights_of(runs["tensorflow"][case])
        assert {values.dtype.name for values in expected.values()} == {"float64"}
        for name in ("pytorch", *OTHERS):
            found = weights_of(runs[name][case])
            assert found.keys() == expected.keys()
            apart[case, name] = max(np.abs(found[weight] - values).max() for weight, values in expected.items())
    print(*(f"{case}, {name}: {most:.1e}" for (case, name), most in apart.items()), sep="\n")
    assert {both: most for both, most in apart.items() if not most <= LIMIT} == {}


def test_200_updates_give_the_same_weights_on_every_backend_and_in_lightning(trained):
    the_same_everywhere(trained, SOME)


@pytest.mark.slow
def test_200_updates_of_every_optimizer_and_schedule_give_the_same_weights(trained):
    the_same_everywhere(trained, list(CASES))
