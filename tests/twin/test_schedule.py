"""Schedules and clipping in the twin's training, beside Lightning's."""

import keras
import numpy as np
import pytest

from keras_parity import read_run
from tests.test_schedules import SCHEDULES

pytestmark = pytest.mark.usefixtures("use_tiny_mnist")

NET = [{"Conv2D": {"filters": 4, "kernel_size": 5, "strides": 3, "activation": "relu"}}, "Flatten", {"Dense": 10}]
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu")
FAST = (f"--model.architecture={NET}", "--model.optimizer=adam", "--data.batch_size=50", "--model.learning_rate=0.01")


def flags(settings):
    return [f"--model.{name}={value}" for name, value in settings.items()]


@pytest.mark.parametrize("settings", [{}, *SCHEDULES.values()], ids=["constant", *SCHEDULES])
def test_the_twin_of_a_run_follows_its_schedule_and_its_clipping(command, tmp_path, settings):
    more = ("--trainer.max_epochs=2", "--trainer.precision=64-true", "--trainer.gradient_clip_val=0.3")
    assert command("cnn_mnist", "fit", *QUIET, *FAST, *more, *flags(settings))[0] == 0
    code, _, err = command("keras_parity", *QUIET, "--twin_of=lightning_logs/pytorch/version_0")
    assert code == 0, err
    ours, theirs = (read_run(tmp_path / f"lightning_logs/{name}/version_0") for name in ("pytorch", "keras"))
    assert ours.settings == theirs.settings
    for tag in ("train/loss", "test/loss", "train_eval/loss"):
        values = [[point.value for point in run.points[tag]] for run in (ours, theirs)]
        np.testing.assert_allclose(*values, rtol=2e-6)
    (file,) = (tmp_path / "lightning_logs/keras").rglob("*.keras")
    assert keras.saving.load_model(file, safe_mode=True).count_params() == 2_674


def test_clipping_changes_the_training(command, tmp_path):
    for more in ((), ("--trainer.gradient_clip_val=0.01",), ("--trainer.gradient_clip_val=0",)):
        assert command("keras_parity", *QUIET, *FAST, "--trainer.max_epochs=1", "--model.optimizer=sgd", *more)[0] == 0
    losses = [read_run(tmp_path / f"lightning_logs/keras/version_{n}").last("test/loss") for n in range(3)]
    assert losses[0] == losses[2] != losses[1]


@pytest.mark.parametrize("settings", [{"schedule": "cosine"}, {"schedule": "one_cycle", "warmup": 0.3}])
def test_a_resume_for_more_epochs_under_a_schedule_that_spans_the_training_is_refused(command, tmp_path, settings):
    assert command("keras_parity", *QUIET, *FAST, "--trainer.max_epochs=1", *flags(settings))[0] == 0
    run = "--ckpt_path=lightning_logs/keras/version_0"
    code, out, err = command("keras_parity", *QUIET, run, "--trainer.max_epochs=2")
    assert (code, out, err.count("\n")) == (1, "", 1)
    expected = {
        "cosine": "--ckpt_path: expected schedule=cosine to continue",
        "one_cycle": "got PiecewiseConstantDecay",
    }
    assert expected[settings["schedule"]] in err
    assert not (tmp_path / "lightning_logs/keras/version_1").exists()


def test_a_schedule_that_counts_from_the_start_is_resumed(command, tmp_path):
    step = ("--model.schedule=step", "--model.decay_steps=3")
    assert command("keras_parity", *QUIET, *FAST, *step, "--trainer.max_epochs=2")[0] == 0
    assert command("keras_parity", *QUIET, *FAST, *step, "--trainer.max_epochs=1")[0] == 0
    run = "--ckpt_path=lightning_logs/keras/version_1"
    code, _, err = command("keras_parity", *QUIET, run, "--trainer.max_epochs=2")
    assert code == 0, err
    straight, resumed = (read_run(tmp_path / f"lightning_logs/keras/version_{n}") for n in (0, 2))
    assert straight.last("test/loss") == pytest.approx(resumed.last("test/loss"), rel=1e-6)


def test_a_fit_is_resumed_for_more_epochs_only_where_its_schedule_lets_it(command, tmp_path):
    cosine = ("--model.schedule=cosine",)
    assert command("cnn_mnist", "fit", *QUIET, *FAST, *cosine, "--trainer.max_epochs=1")[0] == 0
    run = "--ckpt_path=lightning_logs/pytorch/version_0"
    code, _, err = command("cnn_mnist", "fit", *QUIET, run, "--trainer.max_epochs=2")
    assert (code, err.count("\n")) == (1, 1)
    assert "--ckpt_path: expected schedule=cosine to continue at a learning rate of 0, got 0.005" in err
    assert [run.name for run in (tmp_path / "lightning_logs/pytorch").iterdir()] == ["version_0"]


@pytest.mark.parametrize("words", [("cnn_mnist", "fit"), ("keras_parity",)])
def test_a_schedule_over_a_training_without_an_end_is_one_line_and_leaves_nothing(command, tmp_path, words):
    code, out, err = command(*words, *QUIET, "--model.schedule=cosine", "--trainer.max_epochs=-1")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "max_epochs: expected" in err
    assert not list(tmp_path.iterdir())
