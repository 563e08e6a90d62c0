"""Two processes do what one does."""

import torch


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
