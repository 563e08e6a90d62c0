"""Schedule, label smoothing, a part of an epoch, and the packaged settings that use them, in both frameworks."""

import keras
import numpy as np
import pytest
import torch

from cnn_mnist.settings import ModelSettings
from keras_parity.logs.event_files import read_scalars
from keras_parity.twin import optimizers

QUIET = ("--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu")
SETTINGS = (
    "--model.optimizer=adam", "--model.schedule=cosine", "--model.warmup=0.3", "--model.label_smoothing=0.1",
    "--trainer.limit_train_batches=3", "--trainer.max_epochs=2", "--trainer.precision=64",
)  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "cosine", "warmup": 0.2},
        {"schedule": "step", "decay_rate": 0.3, "decay_steps": 20},
        {"schedule": "constant"},
    ],
)
def test_an_optimizer_tells_the_settings_it_was_made_of(settings):
    settings = ModelSettings(optimizer="adamw", learning_rate=0.008, weight_decay=0.004, **settings)
    model = keras.Sequential()
    model.compile(optimizers.make_optimizer(settings, steps=50, clip_norm=1.0))
    told = optimizers.settings_of(model, "its.keras")
    assert told.items() <= vars(settings).items()
    assert told["schedule"] == settings.schedule


@pytest.mark.usefixtures("use_tiny_mnist")
def test_both_frameworks_follow_schedule_and_smoothing_through_parts_of_epochs(command, tmp_path):
    assert command("cnn_mnist", "fit", *QUIET, *SETTINGS)[0] == 0
    code, _, err = command("keras_parity", *QUIET, "--twin_of=lightning_logs/pytorch/version_0")
    assert code == 0, err
    ours, theirs = (read_scalars(tmp_path / f"lightning_logs/{name}/version_0").points for name in ("pytorch", "keras"))
    assert [p.step for p in ours["train/loss"]] == [3, 6] == [p.step for p in theirs["train/loss"]]
    for tag in ("train/loss", "train/acc", "test/loss", "test/acc", "train_eval/loss"):
        np.testing.assert_allclose([p.value for p in ours[tag]], [p.value for p in theirs[tag]], rtol=2e-6)
    (file,) = (tmp_path / "lightning_logs/keras/version_0/checkpoints").glob("*.keras")
    assert keras.saving.load_model(file, safe_mode=True).count_params() == 93_322
    (file,) = (tmp_path / "lightning_logs/pytorch/version_0/checkpoints").glob("*.ckpt")
    last = torch.load(file, weights_only=True)["lr_schedulers"][0]
    assert last["_last_lr"] == pytest.approx([0.0])


@pytest.mark.parametrize(("package", "first"), [("cnn_mnist", ["fit"]), ("keras_parity", [])])
def test_packaged_settings_are_found_by_name(command, package, first):
    for typed in (["--config=speedrun"], ["--config", "speedrun"], ["-c", "speedrun"]):
        code, out, _ = command(package, *first, *typed, "--print_config")
        assert code == 0
        assert "schedule: cosine" in out


def test_a_name_that_is_not_packaged_is_one_line(command):
    code, _, err = command("keras_parity", "--config=no_such")
    assert code == 2
    assert "no_such" in err
    assert err.count("\n") == 1


@pytest.mark.usefixtures("use_tiny_mnist")
@pytest.mark.parametrize("limit", ["0", "0.0", "-1", "1.5"])
def test_a_limit_that_leaves_no_batch_is_refused(command, limit):
    code, _, err = command("keras_parity", *QUIET, f"--trainer.limit_train_batches={limit}")
    assert code == 1
    assert "limit_train_batches: expected" in err
    assert err.count("\n") == 1


def test_smoothing_and_softmax_before_the_loss_exclude_each_other(command):
    code, _, err = command("keras_parity", "--model.label_smoothing=0.1", "--model.softmax_before_loss=true")
    assert code == 1
    assert "label_smoothing: expected 0 with softmax_before_loss" in err


@pytest.mark.usefixtures("use_tiny_mnist")
def test_an_optimizer_in_the_middle_of_a_schedule_does_not_travel(command):
    command("keras_parity", *QUIET, *SETTINGS)
    code, _, err = command(
        "keras_parity", "convert", "lightning_logs/keras/version_0/checkpoints/epoch=1-step=6.keras", "x.ckpt",
        "--with_optimizer=true",
    )  # fmt: skip
    assert code == 1
    assert "constant learning rate" in err
