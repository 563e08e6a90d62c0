"""``python -m keras_parity``, on a tiny set."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
import yaml

from cnn_mnist.architecture.examples import EXAMPLES
from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.data.mnist import scale
from cnn_mnist.data.order import batch_slices, epoch_order
from cnn_mnist.data.splits import Split
from cnn_mnist.pytorch.module import Classifier
from cnn_mnist.runs import tags as names
from cnn_mnist.runs.mistakes import read_mistakes
from cnn_mnist.settings import DataSettings
from keras_parity.logs.event_files import read_scalars
from keras_parity.logs.run import read_run
from keras_parity.twin.engines.tensorflow import TrainingBatches
from keras_parity.twin.network import build_twin, load_weights, read_weights

pytestmark = pytest.mark.usefixtures("use_tiny_mnist")

QUIET = (
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"),
    "--trainer.accelerator=cpu",
)
LIGHTNING = ("--trainer.enable_checkpointing=false", *QUIET)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_twin_computes_the_logits_of_the_lightning_network(name):
    keras.config.set_dtype_policy("float32")
    model = build_twin(EXAMPLES[name])
    weights = initial_weights(EXAMPLES[name], "pytorch", seed=0)  # its biases are not zero
    load_weights(model, weights)
    assert read_weights(model, EXAMPLES[name]).keys() == weights.keys()
    images = np.random.default_rng(0).random((16, 28, 28, 1), np.float32)
    module = Classifier(architecture=name, align="native").eval()
    with torch.no_grad():
        theirs = module(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(model.predict(images, verbose=0), theirs, atol=2e-6)


def test_the_training_step_is_traced_once(command, monkeypatch):
    def seen(model, data):
        traces.append(model)
        return step(model, data)

    traces, step = [], keras.Model.train_step
    monkeypatch.setattr(keras.Model, "train_step", seen)
    assert command("keras_parity", *QUIET, "--trainer.max_epochs=2")[0] == 0
    assert len(traces) == 1


def test_batches_come_in_the_shared_order_with_the_same_bits(tiny_mnist):
    part = Split(tiny_mnist.train_images[..., None], tiny_mnist.train_labels, tuple("0123456789"))
    batches = TrainingBatches(part, DataSettings(batch_size=64, seed=3), "float32")
    assert batches.dataset.cardinality() == 4
    for epoch in (0, 5):
        batches.epoch = epoch
        order = epoch_order(250, 3, epoch)
        for place, (images, labels) in zip(batch_slices(250, 64), batches.dataset, strict=True):
            np.testing.assert_array_equal(images.numpy(), scale(part.images[order[place]]))
            np.testing.assert_array_equal(labels.numpy(), part.labels[order[place]])


def test_both_frameworks_write_the_same_tags_at_the_same_steps_with_nearly_the_same_losses(command, tmp_path):
    flags = ("--trainer.max_epochs=2", "--data.val_size=50", "--seed_everything=4")
    code, out, err = command("cnn_mnist", "fit", *flags, *LIGHTNING)
    assert code == 0, err
    code, out, err = command("keras_parity", *flags, *QUIET)
    assert code == 0, err
    assert "lightning_logs/keras/version_0" in out
    logs = [read_scalars(tmp_path / f"lightning_logs/{name}/version_0").points for name in ("pytorch", "keras")]
    # Keras's first call that returns is a whole execution of several steps.
    steps = [{tag: [p.step for p in points] for tag, points in log.items() if "setup" not in tag} for log in logs]
    assert steps[0] == steps[1]
    assert logs[0].keys() == logs[1].keys()
    for tag in ("train/loss", "val/loss", "test/loss", "train_eval/loss"):
        for ours, theirs in zip(logs[0][tag], logs[1][tag], strict=True):
            assert ours.value == pytest.approx(theirs.value, abs=1e-3)
    run = tmp_path / "lightning_logs/keras/version_0"
    for name in ("config.yaml", "environment.yaml", "checkpoints"):
        assert (run / name).exists()
    assert 1 - len(read_mistakes(run)) / 70 == pytest.approx(logs[1]["test/acc"][0].value)


def test_images_and_texts_bear_the_same_tags(command, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    command("cnn_mnist", "fit", "--trainer.max_epochs=1", *LIGHTNING)
    command("keras_parity", "--trainer.max_epochs=1", *QUIET)
    tags = []
    for name in ("pytorch", "keras"):
        events = EventAccumulator(str(tmp_path / f"lightning_logs/{name}/version_0"))
        events.Reload()
        found = events.Tags()
        plugins = {tag: events.SummaryMetadata(tag).plugin_data.plugin_name for tag in found["tensors"]}
        tags.append(set(found["images"]) | {tag for tag, plugin in plugins.items() if plugin in ("images", "text")})
    assert tags[0] == tags[1]
    assert names.MISTAKES in tags[0]


def test_twin_of_takes_every_setting_of_a_lightning_run(command, tmp_path):
    command(
        "cnn_mnist", "fit", "--trainer.max_epochs=1", "--model.architecture=conv5x5", "--model.learning_rate=0.002",
        "--data.batch_size=50", "--seed_everything=7", "--trainer.precision=64-true", *LIGHTNING,
    )  # fmt: skip
    code, _, err = command("keras_parity", "--twin_of=lightning_logs/pytorch/version_0", *QUIET)
    assert code == 0, err
    config = yaml.safe_load((tmp_path / "lightning_logs/keras/version_0/config.yaml").read_text())
    assert config["model"]["architecture"] == "conv5x5"
    assert config["model"]["learning_rate"] == 0.002
    assert config["data"]["batch_size"] == 50
    assert config["seed_everything"] == 7
    assert config["trainer"]["precision"] == "64-true"
    logs = [read_scalars(tmp_path / f"lightning_logs/{name}/version_0").points for name in ("pytorch", "keras")]
    for tag in ("train/loss", "test/loss"):  # float64: nothing but the float32 of the log is between them
        assert logs[0][tag][-1].value == pytest.approx(logs[1][tag][-1].value, rel=1e-6)


def test_a_settings_file_of_fit_trains_the_twin_too(command, tmp_path):
    flags = (
        *("--trainer.max_epochs=1", "--trainer.log_every_n_steps=2", "--data.batch_size=50"),
        *("--model.optimizer=adam", "--trainer.logger.init_args.save_dir=logs"),
    )
    (tmp_path / "one.yaml").write_text(command("cnn_mnist", "fit", *flags, *LIGHTNING, "--print_config")[1])
    assert command("cnn_mnist", "fit", "--config=one.yaml")[0] == 0
    code, _, err = command("keras_parity", "--config=one.yaml")
    assert (code, err) == (0, "")
    runs = [read_run(tmp_path / f"logs/{name}/version_0") for name in ("pytorch", "keras")]
    assert runs[0].settings == runs[1].settings
    for run in runs:
        assert [point.step for point in run.points["train/acc"]] == [2, 4, 5]
    for ours, theirs in zip(*(run.points["train/loss"] for run in runs), strict=True):
        assert ours.value == pytest.approx(theirs.value, rel=1e-3)


def test_a_settings_file_that_keras_cannot_honour_is_refused_by_name(refused, tmp_path):
    (tmp_path / "one.yaml").write_text("trainer: {accumulate_grad_batches: 4}")
    assert "trainer.accumulate_grad_batches=4, which the Keras twin cannot honour" in refused("--config=one.yaml")


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        ("EarlyStopping, init_args: {monitor: val/loss}", "EarlyStopping"),
        ("lightning.pytorch.callbacks.ModelCheckpoint, init_args: {monitor: val/acc}", "ModelCheckpoint"),
    ],
)
def test_what_watches_a_metric_is_refused_by_name(refused, tmp_path, callback, message):
    (tmp_path / "one.yaml").write_text(f"trainer: {{callbacks: [{{class_path: {callback}}}]}}")
    expected = f"has the callback {message}, which the Keras twin cannot honour"
    assert expected in refused("--config=one.yaml")
    (tmp_path / "config.yaml").write_text((tmp_path / "one.yaml").read_text())
    assert expected in refused(f"--twin_of={tmp_path}")


def test_a_settings_file_with_callbacks_by_name_and_a_number_as_yaml_writes_none(command, tmp_path):
    text = "trainer: {max_epochs: 2, callbacks: [ModelCheckpoint]}\nmodel: {learning_rate: 1e-3}"
    (tmp_path / "one.yaml").write_text(text)
    code, out, _ = command("keras_parity", "--config=one.yaml", "--print_config")
    assert code == 0
    assert "learning_rate: 0.001" in out


@pytest.mark.parametrize("package", ["cnn_mnist", "keras_parity"])
def test_a_settings_file_that_is_no_yaml_is_one_line(command, tmp_path, package):
    (tmp_path / "one.yaml").write_text("trainer: {max_epochs: 1")
    code, out, err = command(package, *["fit"] * (package == "cnn_mnist"), "--config=one.yaml")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "Problems parsing config" in err


def test_config_yaml_repeats_the_run(command, tmp_path):
    command("keras_parity", "--trainer.max_epochs=1", "--data.batch_size=50", *QUIET)
    code, _, err = command("keras_parity", "--config=lightning_logs/keras/version_0/config.yaml")
    assert code == 0, err
    losses = [
        read_scalars(tmp_path / f"lightning_logs/keras/version_{n}").points["train/loss"][0].value for n in (0, 1)
    ]
    assert losses[0] == losses[1]


def test_stock_keras_loads_the_checkpoint_and_a_resumed_run_goes_on_from_it(command, tmp_path):
    command("keras_parity", "--trainer.max_epochs=2", *QUIET)
    command("keras_parity", "--trainer.max_epochs=1", *QUIET)
    (checkpoint,) = (tmp_path / "lightning_logs/keras/version_1").rglob("*.keras")
    assert keras.saving.load_model(checkpoint).count_params() == 93_322
    folder = checkpoint.parent.parent
    code, _, err = command("keras_parity", "--trainer.max_epochs=2", f"--ckpt_path={folder}", *QUIET)
    assert code == 0, err
    models = [
        keras.saving.load_model(next((tmp_path / f"lightning_logs/keras/version_{n}").rglob("*.keras"))) for n in (0, 2)
    ]
    straight, resumed = (read_weights(model, EXAMPLES["three_conv"]) for model in models)
    for name in straight:
        np.testing.assert_allclose(resumed[name], straight[name], atol=1e-6)


@pytest.fixture
def refused(command):
    def run(*arguments: object) -> str:
        code, out, err = command("keras_parity", *QUIET, *arguments)
        assert code in (1, 2)
        assert out == ""
        assert err.count("\n") == 1
        assert err.startswith("python -m keras_parity: error: ")
        return err

    return run


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--data.batch_size=0", "batch_size: expected 1 or more images, got 0"),
        ("--data.batch_size=251", "batch_size: expected 1 to 250"),
        ("--model.architecture=lenet", "unknown architecture 'lenet'"),
        ("--trainer.precision=16-mixed", "precision: expected a precision that Keras has too"),
        ("--trainer.max_epochs=0", "max_epochs: expected 1 or more epochs, got 0"),
        ("--trainer.accelerator=tpu", "trainer.accelerator"),
        ("--trainer.overfit_batches=2", "overfit_batches"),
        ("--twin_of=nowhere", "--twin_of: expected the folder of a Lightning run with its config.yaml, got nowhere"),
        (
            "--ckpt_path=nothing.keras",
            "a checkpoint file, got nothing.keras, which does not exist",
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(refused, tmp_path, flag, message):
    assert message in refused(flag)
    assert not list(tmp_path.rglob("version_*"))


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
def test_gpu_without_a_gpu(refused):
    assert "expected a GPU that TensorFlow" in refused("--trainer.accelerator=gpu")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("--trainer.gradient_clip_algorithm=value", "trainer.gradient_clip_algorithm=value"),
        ("--trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches=2"),
        ("--trainer.max_steps=3", "trainer.max_steps=3"),
    ],
)
def test_a_setting_that_keras_cannot_honour_is_an_error(command, refused, setting, message):
    command("cnn_mnist", "fit", "--trainer.max_epochs=1", setting, *LIGHTNING)
    assert f"{message}, which the Keras twin cannot honour" in refused("--twin_of=lightning_logs/pytorch/version_0")


def test_a_checkpoint_of_another_network_or_setting_is_refused(command, refused, tmp_path):
    command("keras_parity", "--trainer.max_epochs=1", *QUIET)
    (checkpoint,) = tmp_path.rglob("*.keras")
    flags = ("--model.architecture=conv5x5", "--model.learning_rate=0.5")
    for flag in flags:  # by the settings of its run
        assert f"error: {flag.split('=')[0]}: {checkpoint} was trained with" in refused(
            f"--ckpt_path={checkpoint}", flag
        )
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone/model.keras").write_bytes(checkpoint.read_bytes())  # by what the file itself tells
    assert "expected the weights of conv5x5" in refused("--ckpt_path=alone/model.keras", flags[0])
    assert "--model.learning_rate" in refused("--ckpt_path=alone/model.keras", flags[1])
    (tmp_path / "cut.keras").write_bytes(checkpoint.read_bytes()[:3000])
    assert "which cannot be loaded safely" in refused("--ckpt_path=cut.keras")


def test_nan_in_the_loss_names_epoch_and_run(refused):
    error = refused("--model.learning_rate=1e30", "--trainer.max_epochs=2")
    assert "expected a finite loss, got NaN or infinity in epoch" in error
    assert "lightning_logs/keras/version_0" in error


def test_a_whole_training_imports_no_torch(run_python, tiny_file):
    code = """
import sys
from keras_parity.__main__ import main
main()
print("imported:", {"torch", "lightning"} & sys.modules.keys())
"""
    answer = run_python("-c", code, f"--data.file={tiny_file}", "--trainer.max_epochs=1", *QUIET)
    assert answer.stdout.endswith("imported: set()\n"), answer.stderr


@pytest.mark.filterwarnings("ignore:softmax_before_loss")
def test_softmax_before_the_loss_has_its_floor_in_keras_too_and_stock_keras_loads_the_file(command, tmp_path):
    flags = ("--trainer.max_epochs=6", "--model.softmax_before_loss=true", "--model.architecture=conv5x5")
    code, _, err = command("keras_parity", *flags, *QUIET)
    assert code == 0, err
    command("cnn_mnist", "fit", *flags, *LIGHTNING)
    logs = [read_scalars(tmp_path / f"lightning_logs/{name}/version_0").points for name in ("pytorch", "keras")]
    assert logs[1]["test/acc"][-1].value > 0.9
    assert logs[1]["test/loss"][-1].value > 1.461150
    assert logs[1]["train/loss"][0].value == pytest.approx(logs[0]["train/loss"][0].value, abs=1e-3)
    (checkpoint,) = (tmp_path / "lightning_logs/keras").rglob("*.keras")
    assert keras.saving.load_model(checkpoint).count_params() == 62_346


def test_twin_of_and_print_config_print_the_twins_settings(command):
    command("cnn_mnist", "fit", "--trainer.max_epochs=1", "--data.batch_size=50", *LIGHTNING)
    code, out, _ = command("keras_parity", "--twin_of=lightning_logs/pytorch/version_0", "--print_config")
    assert code == 0
    config = yaml.safe_load(out)
    assert (config["data"]["batch_size"], config["trainer"]["max_epochs"], config["twin_of"]) == (50, 1, None)


def test_a_resumed_run_keeps_the_settings_of_its_run(command, refused, tmp_path):
    command("keras_parity", "--trainer.max_epochs=1", "--seed_everything=3", "--data.batch_size=50", *QUIET)
    (checkpoint,) = tmp_path.rglob("*.keras")
    assert "--seed_everything" in refused(f"--ckpt_path={checkpoint}", "--seed_everything=4")
    assert "--data.batch_size" in refused(f"--ckpt_path={checkpoint}", "--data.batch_size=25")
    assert "has already trained 1 epochs" in refused(f"--ckpt_path={checkpoint}", "--trainer.max_epochs=1")
    code, _, err = command("keras_parity", f"--ckpt_path={checkpoint}", "--trainer.max_epochs=2", *QUIET)
    assert code == 0, err
    config = yaml.safe_load((tmp_path / "lightning_logs/keras/version_1/config.yaml").read_text())
    assert (config["seed_everything"], config["data"]["batch_size"]) == (3, 50)


def test_threads_are_the_machines(command, tmp_path):
    import os

    command("keras_parity", "--trainer.max_epochs=1", *QUIET)
    environment = yaml.safe_load((tmp_path / "lightning_logs/keras/version_0/environment.yaml").read_text())
    assert environment["threads"] == os.cpu_count()


def test_relu_after_the_pool_is_the_model_with_relu_before_it():
    twin = build_twin(EXAMPLES["three_conv"])
    assert [layer.name for layer in twin.layers[:3]] == ["conv1", "pool1", "conv1_relu"]
    relu = {"activation": "relu"}
    published = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            *(keras.layers.Conv2D(32, 3, **relu), keras.layers.MaxPooling2D(2)),
            *(keras.layers.Conv2D(64, 3, **relu), keras.layers.MaxPooling2D(2)),
            *(keras.layers.Conv2D(64, 3, **relu), keras.layers.Flatten()),
            *(keras.layers.Dense(64, **relu), keras.layers.Dense(10)),
        ]
    )
    published.set_weights(twin.get_weights())
    images = np.random.default_rng(0).random((16, 28, 28, 1), np.float32).round(1)  # ties in the windows
    images[:4] = 0
    outputs, gradients = [], []
    for model in (twin, published):
        with tf.GradientTape() as tape:
            outputs.append(model(images))
            loss = tf.reduce_sum(tf.square(outputs[-1]))
        gradients.append(tape.gradient(loss, [variable.value for variable in model.trainable_variables]))
    np.testing.assert_allclose(*outputs, atol=1e-6)
    for ours, theirs in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5 * np.abs(theirs).max())


def test_a_twin_with_other_settings_than_its_run_is_called_none(command, train):
    run = train("cnn_mnist", "fit", "--trainer.max_epochs=1", "--model.architecture=[Flatten, {Dense: 10}]")
    words = ("keras_parity", f"--twin_of={run}", "--trainer.enable_progress_bar=false")
    code, _, err = command(*words, "--model.architecture=[Flatten, {Dense: {units: 10}}]", "--trainer.precision=32")
    assert (code, err) == (0, "")
    code, _, err = command(*words, "--model.optimizer=adam", "--seed_everything=4", "--trainer.gradient_clip_val=0.5")
    assert code == 0
    assert err == (
        f"python -m keras_parity: warning: --twin_of: this is no twin of {run}: seed_everything=4 (there 0), "
        "model.optimizer=adam (there rmsprop), trainer.gradient_clip_val=0.5 (there None)\n"
    )
