"""Several processes do what one does."""

import time

import pytest
import torch
import yaml

from tests.conftest import bars, save_npz
from tests.processes import LAUNCHES, NET, QUIET, check_close, ended, fit, start


def test_two_processes_with_the_same_global_batches_train_the_same_weights(command, run_python, tmp_path, tiny_file):
    flags = (  # four batches in shares of 26 and 25, and one in equal shares
        f"--data.file={tiny_file}", "--data.batch_size=51", "--trainer.accelerator=cpu",
        "--trainer.precision=64-true", "--trainer.max_epochs=10", "--trainer.enable_progress_bar=false",
    )  # fmt: skip
    assert command("cnn_mnist", "fit", *flags)[0] == 0
    answer = run_python("-m", "cnn_mnist", "fit", *flags, "--trainer.devices=2", "--trainer.strategy=ddp")
    assert answer.returncode == 0, answer.stderr
    weights = []
    for version in range(2):
        (path,) = (tmp_path / f"lightning_logs/pytorch/version_{version}").rglob("*.ckpt")
        checkpoint = torch.load(path, weights_only=True)
        assert checkpoint["global_step"] == 50
        weights.append(checkpoint["state_dict"])
    one, two = weights
    greatest = max((one[name] - two[name]).abs().max().item() for name in one)
    assert one["network.conv1.weight"].dtype == torch.float64
    assert 0 < greatest < 1e-12


def test_two_processes_with_a_stock_loader_train_as_one_does(run_python, tmp_path):
    code = """
import sys
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset
from cnn_mnist import Classifier
processes = int(sys.argv[1])
images = torch.linspace(0, 1, 16 * 784, dtype=torch.float64).sin().reshape(16, 1, 28, 28)
loader = DataLoader(TensorDataset(images, torch.arange(16) % 10), batch_size=16 // processes)  # Lightning shuffles
model = Classifier(architecture=["Flatten", {"Dense": 10}], optimizer="sgd", learning_rate=0.5)
trainer = Trainer(
    max_epochs=2, accelerator="cpu", precision="64-true", devices=processes,
    strategy="ddp" if processes > 1 else "auto", enable_progress_bar=False,
)
trainer.fit(model, loader)
if trainer.is_global_zero:
    torch.save(model.state_dict(), f"{processes}.pt")
"""
    for processes in (1, 2):
        (tmp_path / "train.py").write_text(code)  # ddp starts the file again
        answer = run_python("train.py", processes)
        assert answer.returncode == 0, answer.stderr
    one, two = (torch.load(tmp_path / f"{processes}.pt") for processes in (1, 2))
    assert torch.allclose(one["network.dense1.weight"], two["network.dense1.weight"], rtol=0, atol=1e-12)


WHOLE = (
    *QUIET, "--data.file=images.npz", "--model.architecture=net.yaml", "--data.shift=2", "--data.rotation=10",
    "--data.batch_size=99", "--data.val_size=0", "--trainer.precision=64-true", "--trainer.max_epochs=1",
    "--trainer.log_every_n_steps=4",
)  # fmt: skip
"""2,000 images in 20 batches of 99 and one of 20: no share of 2 or 3 is like the other in all of them."""


@pytest.fixture
def images(tmp_path):
    (tmp_path / "net.yaml").write_text(NET)
    save_npz(tmp_path / "images.npz", *bars(2000, seed=0), *bars(503, seed=1))
    return tmp_path


@pytest.mark.parametrize(
    ("launch", "align"),
    [
        ("ddp of 2", "keras"),
        *(pytest.param(launch, "native", marks=pytest.mark.slow) for launch in list(LAUNCHES)[1:]),
        *(pytest.param(launch, "keras", marks=pytest.mark.slow) for launch in list(LAUNCHES)[2:]),
    ],
)
def test_an_epoch_with_batch_norm_dropout_and_augmentation_is_that_of_one_process(images, launch, align):
    runs = [fit(images, how, *WHOLE, f"--model.align={align}") for how in ("one process", launch)]
    assert 0 < check_close(*runs) < 1e-12
    devices = [yaml.safe_load((run / "environment.yaml").read_text())["device"] for run in runs]
    assert devices == ["cpu", f"{3 if '3' in launch else 2} x cpu"]


@pytest.mark.slow
def test_lightnings_own_batch_norms_are_refused(images):
    codes, (said,) = ended(start(images, "ddp of 2", *WHOLE, "--trainer.sync_batchnorm=true"))
    assert codes == [1]
    assert said == (
        "python -m cnn_mnist: error: --trainer.sync_batchnorm: expected false, because batch norms act on the batch of "
        "all processes anyway, got true\n"
    )


def test_a_batch_smaller_than_the_processes_is_refused_before_the_training(images):
    codes, (said,) = ended(start(images, "ddp of 3", *WHOLE, "--data.batch_size=111"))
    assert codes == [1]
    assert said == (
        "python -m cnn_mnist: error: batch_size: expected at least 3 images in each batch, one for each process, got 2 "
        "in the last of 2000 images in batches of 111; use 110\n"
    )
    assert not (images / "lightning_logs").exists()


@pytest.mark.slow
def test_a_test_set_whose_last_batch_is_one_image_is_evaluated_whole(images):
    save_npz(images / "images.npz", *bars(200, seed=0), *bars(2001, seed=1))
    assert 0 < check_close(*(fit(images, launch, *WHOLE) for launch in ("one process", "ddp of 2"))) < 1e-12


_NAN_IN_ONE = """
import os
import sys
from cnn_mnist import Classifier
from cnn_mnist.__main__ import main
step = Classifier.training_step
def training_step(self, batch, number):
    return step(self, batch, number) * (float("nan") if number == 7 and self.trainer.global_rank == 1 else 1)
Classifier.training_step = training_step
main()
"""


@pytest.mark.parametrize("launch", ["ddp of 2", pytest.param("torchrun on 2 nodes", marks=pytest.mark.slow)])
def test_a_loss_that_is_no_number_in_one_process_ends_all_with_one_line(images, launch):
    (images / "nan.py").write_text(_NAN_IN_ONE)
    began = time.monotonic()
    codes, said = ended(start(images, launch, *WHOLE, script=("nan.py",)))
    assert time.monotonic() - began < 60
    assert codes == [1] * len(codes)
    (line,) = [line for line in "".join(said).splitlines() if line.startswith("python -m cnn_mnist:")]
    assert "expected a finite loss, got NaN or infinity at step 8 of lightning_logs" in line
    assert launch != "ddp of 2" or said == [line + "\n"]
