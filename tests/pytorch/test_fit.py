"""``python -m cnn_mnist fit`` and its sisters, on a tiny set."""

import json

import pytest
import torch
import yaml

from cnn_mnist.errors import UserNotice
from cnn_mnist.pytorch import data_module
from cnn_mnist.pytorch.module import Classifier
from cnn_mnist.runs import tags as names
from cnn_mnist.runs.mistakes import read_mistakes
from tests import scalars

pytestmark = pytest.mark.usefixtures("use_tiny_mnist")

CHECKPOINT = (
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    "--trainer.accelerator=cpu",
)
QUIET = (*CHECKPOINT, "--trainer.enable_checkpointing=false")

SCALARS = {
    *(f"{split}/{name}" for split in ("train", "train_eval", "test") for name in ("loss", "acc")),
    *("time/setup_seconds", "time/epoch_seconds", "time/fit_seconds", "throughput/images_per_second"),
    *("curves/train_loss", "curves/train_acc"),
    names.PARAMETERS,
}


def _weights(run):
    (checkpoint,) = (run / "checkpoints").glob("*.ckpt")
    return checkpoint, torch.load(checkpoint, weights_only=True)["state_dict"]


def test_fit_writes_the_run_folder_of_the_contract(command, tmp_path):
    code, out, _ = command("cnn_mnist", "fit", "--trainer.max_epochs=2", *CHECKPOINT)
    assert code == 0
    run = tmp_path / "lightning_logs/pytorch/version_0"
    tags = scalars.read(run)
    drawn = {names.LAYERS, names.EXAMPLES, names.CONFUSION_MATRIX, names.MISTAKES}
    assert tags.keys() == SCALARS | drawn | {"_hparams_/experiment", "_hparams_/session_start_info"}
    # 250 images in batches of 64 are 4 updates an epoch.
    assert [step for step, _ in tags["train/loss"]] == [4, 8]
    assert [step for step, _ in tags["time/epoch_seconds"]] == [4, 8]
    assert [step for step, _ in tags["time/setup_seconds"]] == [1]
    for tag in ("test/acc", "train_eval/loss", "time/fit_seconds"):
        assert [step for step, _ in tags[tag]] == [8]
    assert tags[names.PARAMETERS] == [(0, 93_322)]
    files = {path.name for path in run.iterdir()}
    assert {"config.yaml", "environment.yaml", "mistakes.csv", "checkpoints"} <= files
    assert 1 - len(read_mistakes(run)) / 70 == pytest.approx(tags["test/acc"][0][1])
    assert "lightning_logs/pytorch/version_0" in out
    assert f"{tags['test/acc'][0][1]:.4f}" in out


def test_a_test_of_a_part_leaves_no_mistakes_which_would_pass_for_the_wholes(command, tmp_path, monkeypatch):
    monkeypatch.setattr(data_module, "evaluation_batch_size", lambda shape: 20)
    code, _, err = command("cnn_mnist", "fit", "--trainer.max_epochs=1", "--trainer.limit_test_batches=2", *QUIET)
    assert code == 0, err
    assert not list(tmp_path.rglob("mistakes.csv"))


def test_a_held_out_part_is_evaluated_at_every_epoch(command, tmp_path):
    command("cnn_mnist", "fit", "--trainer.max_epochs=2", "--data.val_size=50", *QUIET)
    tags = scalars.read(tmp_path / "lightning_logs/pytorch/version_0")
    assert [step for step, _ in tags["val/acc"]] == [4, 8]


def test_config_yaml_repeats_the_run_bitwise(command, tmp_path):
    command("cnn_mnist", "fit", "--trainer.max_epochs=1", "--seed_everything=3", "--data.batch_size=50", *CHECKPOINT)
    runs = tmp_path / "lightning_logs/pytorch"
    code, _, _ = command("cnn_mnist", "fit", "--config", runs / "version_0/config.yaml")
    assert code == 0
    (_, first), (_, second) = (_weights(runs / f"version_{n}") for n in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    config = yaml.safe_load((runs / "version_1/config.yaml").read_text())
    assert (config["seed_everything"], config["data"]["batch_size"]) == (3, 50)


def test_the_train_loss_is_the_mean_over_samples_of_the_losses_before_each_update(command, tmp_path, tiny_mnist):
    from cnn_mnist.data.mnist import scale
    from cnn_mnist.data.order import batch_slices, epoch_order

    command("cnn_mnist", "fit", "--trainer.max_epochs=1", *QUIET)
    model = Classifier()
    optimizer = model.configure_optimizers()
    images = torch.from_numpy(scale(tiny_mnist.train_images)).unsqueeze(1)
    labels = torch.from_numpy(tiny_mnist.train_labels).long()
    total = 0.0
    for place in batch_slices(250, 64):
        indices = epoch_order(250, 0, 0)[place]
        loss = torch.nn.functional.cross_entropy(model(images[indices]), labels[indices])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(indices)
    ((_, logged),) = scalars.read(tmp_path / "lightning_logs/pytorch/version_0")["train/loss"]
    assert logged == pytest.approx(total / 250, rel=1e-6)


def test_align_chooses_initial_weights_and_optimizer():
    keras, native = Classifier(), Classifier(align="native")
    assert type(keras.configure_optimizers()).__name__ == "KerasRMSprop"
    assert type(native.configure_optimizers()) is torch.optim.RMSprop
    settings = native.configure_optimizers().param_groups[0]
    assert (settings["lr"], settings["alpha"], settings["eps"]) == (1e-3, 0.9, 1e-7)
    assert not keras.network.conv1.bias.any()
    assert native.network.conv1.bias.any()


def test_softmax_before_the_loss_warns_and_names_its_floor():
    with pytest.warns(UserNotice, match="1.461150"):
        model = Classifier(softmax_before_loss=True)
    sure = torch.nn.functional.one_hot(torch.arange(10), 10).float() * 1000
    model.network = torch.nn.Identity()
    from cnn_mnist.pytorch.loader import Batch

    loss, _ = model._shared_step(Batch(sure, torch.arange(10), torch.arange(10), 10), "train")
    assert loss.item() / 10 == pytest.approx(1.461150, abs=1e-6)


def test_a_checkpoint_brings_its_settings_and_its_digits(command, tmp_path):
    command(
        "cnn_mnist", "fit", "--trainer.max_epochs=1", "--model.architecture=conv5x5", "--seed_everything=2", *CHECKPOINT
    )
    run = tmp_path / "lightning_logs/pytorch/version_0"
    checkpoint, _ = _weights(run)
    code, out, err = command("cnn_mnist", "test", f"--ckpt_path={checkpoint}", *CHECKPOINT)
    assert code == 0, err
    ((_, accuracy),) = scalars.read(run)["test/acc"]
    assert accuracy < 1
    assert f"{accuracy:.4f}" in out
    code, out, _ = command("cnn_mnist", "predict", f"--ckpt_path={checkpoint}")
    assert code == 0
    assert f"{round(accuracy * 70)} of 70 test images right" in out
    assert len(list((tmp_path / "lightning_logs").rglob("version_*"))) == 1  # neither makes a run folder


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(command, tmp_path):
    runs = tmp_path / "lightning_logs/pytorch"
    command("cnn_mnist", "fit", "--trainer.max_epochs=3", "--seed_everything=1", *CHECKPOINT)
    command("cnn_mnist", "fit", "--trainer.max_epochs=1", "--seed_everything=1", *CHECKPOINT)
    checkpoint, _ = _weights(runs / "version_1")
    code, _, err = command("cnn_mnist", "fit", "--trainer.max_epochs=3", f"--ckpt_path={checkpoint}", *CHECKPOINT)
    assert code == 0, err
    (_, straight), (_, resumed) = (_weights(runs / f"version_{n}") for n in (0, 2))
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


@pytest.mark.parametrize(
    "flag",
    ["--model.learning_rate=0.5", "--model.architecture=three_conv", "--seed_everything=9", "--data.batch_size=9"],
)
def test_a_setting_typed_against_the_checkpoint_is_refused(command, tmp_path, flag):
    command("cnn_mnist", "fit", "--trainer.max_epochs=1", "--model.architecture=conv5x5", *CHECKPOINT)
    checkpoint, _ = _weights(tmp_path / "lightning_logs/pytorch/version_0")
    code, _, err = command("cnn_mnist", "fit", f"--ckpt_path={checkpoint}", flag, *QUIET)
    assert code == 1
    assert f"error: {flag.split('=')[0]}: {checkpoint} was trained with" in err
    assert len(list((tmp_path / "lightning_logs/pytorch").iterdir())) == 1


def test_without_a_logger_nothing_is_written(command, tmp_path):
    for _ in range(2):
        code, out, err = command(
            "cnn_mnist",
            "fit",
            "--trainer.max_epochs=1",
            "--trainer.logger=false",
            "--trainer.enable_checkpointing=false",
        )
        assert code == 0, err
    assert "test set, final weights" in out
    assert not list(tmp_path.rglob("*.yaml"))


def test_flags_turn_the_default_callbacks_off(command, tmp_path):
    flags = [f"--trainer.enable_{name}=false" for name in ("progress_bar", "model_summary", "checkpointing")]
    code, out, err = command("cnn_mnist", "fit", "--trainer.max_epochs=1", *flags)
    assert code == 0, err
    assert out.startswith("results")
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_run_resumed_in_the_middle_of_an_epoch_ends_with_the_same_weights(command, tmp_path):
    every_two = {"class_path": "ModelCheckpoint", "init_args": {"every_n_train_steps": 2, "save_top_k": -1}}
    flags = ("--trainer.max_epochs=2", f"--trainer.callbacks=[{json.dumps(every_two)}]", *CHECKPOINT)
    command("cnn_mnist", "fit", *flags)
    runs = tmp_path / "lightning_logs/pytorch"
    (middle,) = runs.rglob("epoch=0-step=2.ckpt")
    code, _, err = command("cnn_mnist", "fit", f"--ckpt_path={middle}", *flags)
    assert code == 0, err
    straight, resumed = (torch.load(next((runs / f"version_{n}").rglob("*step=8.ckpt")))["state_dict"] for n in (0, 1))
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


@pytest.mark.parametrize("able", [True, False])
def test_a_cpu_without_bf16_is_told_before_it_crawls(command, monkeypatch, able):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"architecture": "x86_64", "amx_bf16": able})
    part = ("--trainer.limit_train_batches=1", "--trainer.max_epochs=1")
    code, _, err = command("cnn_mnist", "fit", *QUIET, *part, "--trainer.precision=bf16-mixed")
    assert code == 0
    assert ("has no bf16 instructions" in err) is not able


def test_an_interrupted_fit_says_so_and_ends_with_130(run_python, tiny_file):
    code = """
from cnn_mnist.__main__ import main
from cnn_mnist.pytorch.module import Classifier
def interrupted(*_):
    raise KeyboardInterrupt
Classifier.training_step = interrupted
main()
"""  # in a process of its own, since Lightning leaves SIGINT ignored
    answer = run_python("-c", code, "fit", f"--data.file={tiny_file}", "--trainer.enable_progress_bar=false")
    assert answer.returncode == 130
    how = "resume with: python -m cnn_mnist fit --resume=lightning_logs/pytorch/version_0"
    assert answer.stderr.splitlines()[-1] == f"python -m cnn_mnist: interrupted at step 0; {how}"
    assert "Traceback" not in answer.stderr
