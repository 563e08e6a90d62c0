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
