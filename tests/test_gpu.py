"""What is promised on a GPU, for PyTorch Lightning and the twin on JAX and on PyTorch; skipped where there is none."""

import math

import pytest
import torch
import yaml

from cnn_mnist.runs.folder import KERAS_JAX, KERAS_TORCH, PYTORCH
from keras_parity.logs.event_files import read_scalars
from tests.lives import NET

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use"),
]
TRAINERS = {
    PYTORCH: ["cnn_mnist", "fit"],
    KERAS_JAX: ["keras_parity", "--backend=jax"],
    KERAS_TORCH: ["keras_parity", "--backend=torch"],
}
FLAGS = ("--model.architecture=net.yaml", "--data.batch_size=10", "--trainer.log_every_n_steps=1")
"""25 updates an epoch on 250 images."""

CLOSE = 1e-3
"""Relative difference of a loss after up to 100 updates in float32, whose sums a GPU adds in another order."""


@pytest.fixture(params=TRAINERS)
def trained(request, run_python, tmp_path, tiny_file):
    """Trains with one of the trainers; gives the run folder."""
    (tmp_path / "net.yaml").write_text(NET)

    def train(*flags):
        new = () if any("--resume" in flag for flag in flags) else (*FLAGS, f"--data.file={tiny_file}")
        answer = run_python("-m", *TRAINERS[request.param], *new, *flags)
        assert answer.returncode == 0, answer.stderr
        return max((tmp_path / "lightning_logs" / request.param).iterdir(), key=lambda path: path.stat().st_mtime)

    return train


def losses(run):
    return [point.value for point in read_scalars(run).points["train/loss"]]


def test_a_hundred_updates_on_a_gpu_have_the_losses_of_a_cpu_and_name_the_gpu(trained):
    on_cpu, on_gpu = (trained(f"--trainer.accelerator={kind}", "--trainer.max_epochs=4") for kind in ("cpu", "gpu"))
    assert yaml.safe_load((on_gpu / "environment.yaml").read_text())["device"] == torch.cuda.get_device_name()
    assert all(math.isclose(a, b, rel_tol=CLOSE) for a, b in zip(losses(on_cpu), losses(on_gpu), strict=True))


def test_auto_chooses_the_gpu(trained):
    environment = yaml.safe_load((trained("--trainer.max_epochs=1") / "environment.yaml").read_text())
    assert environment["device"] == torch.cuda.get_device_name()


def test_a_run_on_a_gpu_goes_on_where_it_stopped(trained):
    straight = losses(trained("--trainer.accelerator=gpu", "--trainer.max_epochs=3"))
    trained("--trainer.accelerator=gpu", "--trainer.max_epochs=2")
    resumed = losses(trained("--resume=last", "--trainer.max_epochs=3"))
    assert all(math.isclose(a, b, rel_tol=CLOSE) for a, b in zip(straight, resumed, strict=True))


def test_the_twin_on_jax_leaves_most_of_the_card_to_others(run_python, tmp_path, tiny_file):
    (tmp_path / "train.py").write_text(
        "import sys, torch\n"
        "from keras_parity.twin import cli\n"
        "free, total = torch.cuda.mem_get_info()\n"
        "cli.main(sys.argv[1:], {})\n"
        "assert free - torch.cuda.mem_get_info()[0] < total / 4\n"
    )
    flags = ("--backend=jax", "--trainer.accelerator=gpu", "--trainer.max_epochs=1", f"--data.file={tiny_file}")
    answer = run_python("train.py", *flags)
    assert answer.returncode == 0, answer.stderr
