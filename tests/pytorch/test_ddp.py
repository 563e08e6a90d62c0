"""Two processes do what one does."""

import pytest
import torch


@pytest.mark.parametrize("batch_size", [64, 51], ids=["equal shares", "unequal shares"])
def test_two_processes_with_the_same_global_batches_train_the_same_weights(run_python, tmp_path, data_dir, batch_size):
    weights = []
    for devices, strategy in (1, "auto"), (2, "ddp"):
        answer = run_python(
            "-m", "cnn_mnist", "fit", f"--data.data_dir={data_dir}", f"--data.batch_size={batch_size}",
            "--trainer.accelerator=cpu", f"--trainer.devices={devices}", f"--trainer.strategy={strategy}",
            "--trainer.precision=64-true", "--trainer.max_steps=100", "--trainer.limit_test_batches=2",
            "--trainer.enable_progress_bar=false",
        )  # fmt: skip
        assert answer.returncode == 0, answer.stderr
        (path,) = (tmp_path / f"lightning_logs/pytorch/version_{len(weights)}").rglob("*.ckpt")
        checkpoint = torch.load(path, weights_only=True)
        assert checkpoint["global_step"] == 100
        weights.append(checkpoint["state_dict"])
    one, two = weights
    greatest = max((one[name] - two[name]).abs().max().item() for name in one)
    assert one["network.conv1.weight"].dtype == torch.float64
    assert 0 < greatest < 1e-12
