"""Weights and optimizers travel both ways."""

from pathlib import Path

import keras
import numpy as np
import pytest
import torch

from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.architecture.layers import Conv, Dense, Flatten
from cnn_mnist.architecture.layouts import to_pytorch
from cnn_mnist.architecture.trace import layers_of
from cnn_mnist.data import mnist
from cnn_mnist.data.mnist import scale
from cnn_mnist.errors import UserError, UserNotice
from cnn_mnist.settings import ModelSettings
from keras_parity.convert import keras_files, pytorch_files
from keras_parity.convert.cli import FORMATS, convert
from keras_parity.convert.portable import Portable
from keras_parity.twin.dtypes import in_dtype
from keras_parity.twin.network import build_twin
from tests.pytorch.test_optimizers import VARIANTS

QUIET = ("--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--trainer.max_epochs=1")
WEIGHTS_ALONE = {".pt": "three_conv", ".weights.h5": "three_conv"}
LIGHTNING = ("--trainer.enable_model_summary=false", *QUIET)


@pytest.fixture
def images(tiny_mnist):
    return scale(tiny_mnist.test_images)


@pytest.fixture
def lightning_checkpoint(command, use_tiny_mnist, tmp_path):
    command("cnn_mnist", "fit", "--model.architecture=conv5x5", *LIGHTNING)
    return next((tmp_path / "lightning_logs/pytorch").rglob("*.ckpt"))


@pytest.fixture
def keras_checkpoint(command, use_tiny_mnist, tmp_path):
    command("keras_parity", *QUIET)
    return next((tmp_path / "lightning_logs/keras").rglob("*.keras"))


def test_ckpt_to_keras_to_ckpt_is_bitwise_the_same_optimizer_included(lightning_checkpoint, images, tmp_path):
    convert(lightning_checkpoint, tmp_path / "a.keras", images, with_optimizer=True)
    convert(tmp_path / "a.keras", tmp_path / "b.ckpt", images, with_optimizer=True)
    before, after = (torch.load(path, weights_only=True) for path in (lightning_checkpoint, tmp_path / "b.ckpt"))
    assert before["state_dict"].keys() == after["state_dict"].keys()
    for name, tensor in before["state_dict"].items():
        assert torch.equal(tensor, after["state_dict"][name])
    for index, state in before["optimizer_states"][0]["state"].items():
        assert torch.equal(state["velocity"], after["optimizer_states"][0]["state"][index]["velocity"])
    assert after["hyper_parameters"] == before["hyper_parameters"]
    assert after["global_step"] == 4


@pytest.mark.parametrize("ending", [".pt", ".safetensors", ".weights.h5", ".keras", ".ckpt"])
def test_every_format_gives_the_weights_back(keras_checkpoint, images, tmp_path, ending):
    agreement = convert(keras_checkpoint, tmp_path / f"there{ending}", images)
    assert agreement.difference < 1e-4
    assert agreement.changed == 0
    convert(tmp_path / f"there{ending}", tmp_path / "back.keras", images, architecture=WEIGHTS_ALONE.get(ending))
    before, after = (keras_files.read_keras(path)[0].weights for path in (keras_checkpoint, tmp_path / "back.keras"))
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_a_list_of_layers_without_a_name_travels_too(images, tmp_path):
    layers = (Conv(4, 3), Flatten(), Dense(10))
    weights = initial_weights(layers, "pytorch", 0)
    torch.save({k: torch.from_numpy(v) for k, v in to_pytorch(weights, layers).items()}, tmp_path / "own.pt")
    convert(tmp_path / "own.pt", tmp_path / "own.keras", images, architecture=layers)
    for name, array in keras_files.read_keras(tmp_path / "own.keras", layers)[0].weights.items():
        np.testing.assert_array_equal(array, weights[name])


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_training_goes_on_in_the_other_framework_for_20_float64_steps(settings, tiny_mnist, tmp_path):
    layers, settings = layers_of("conv5x5"), ModelSettings(architecture="conv5x5", **settings)
    weights = {k: v.astype(np.float64) for k, v in initial_weights(layers, "keras", 0).items()}
    images = scale(tiny_mnist.train_images).astype(np.float64)
    labels = tiny_mnist.train_labels.astype(np.int64)

    def torch_steps(network, optimizer, steps):
        for step in steps:
            place = slice(10 * step, 10 * step + 10)
            optimizer.zero_grad()
            logits = network(torch.from_numpy(images[place]).unsqueeze(1))
            torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[place])).backward()
            optimizer.step()

    network, optimizer = pytorch_files.make_torch_optimizer(Portable(layers, weights, settings))
    torch_steps(network, optimizer, range(5))
    checkpoint = {
        "state_dict": {f"network.{name}": tensor for name, tensor in network.state_dict().items()},
        "hyper_parameters": settings.__dict__,
        "global_step": 5,
        "optimizer_states": [optimizer.state_dict()],
    }
    torch.save(checkpoint, tmp_path / "a.ckpt")
    convert(tmp_path / "a.ckpt", tmp_path / "a.keras", images.astype(np.float32), with_optimizer=True)

    torch_steps(network, optimizer, range(5, 25))
    portable, _ = keras_files.read_keras(tmp_path / "a.keras")
    assert portable.settings.optimizer == settings.optimizer
    model = keras_files.make_keras_model(portable)
    with in_dtype("float64"):
        for step in range(5, 25):
            place = slice(10 * step, 10 * step + 10)
            model.train_on_batch(images[place, ..., None], labels[place])
    ours = keras_files.read_weights(model)
    theirs = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    for name, array in to_pytorch(ours, layers).items():
        np.testing.assert_allclose(array, theirs[name], rtol=0, atol=1e-10)


def test_a_converted_checkpoint_goes_on_in_both_trainers(command, keras_checkpoint, images, tmp_path):
    convert(keras_checkpoint, tmp_path / "a.ckpt", images, with_optimizer=True)
    code, _, err = command("cnn_mnist", "fit", "--ckpt_path=a.ckpt", *LIGHTNING)
    assert code == 0, err
    convert(tmp_path / "lightning_logs/pytorch/version_0", tmp_path / "b.keras", images, with_optimizer=True)
    assert keras_files.read_keras(tmp_path / "b.keras")[0].iterations == 8  # 4 updates in either framework
    code, _, err = command("keras_parity", "--ckpt_path=b.keras", *QUIET[:2], "--trainer.max_epochs=3")
    assert code == 0, err


def test_the_command_converts_and_says_how_well(command, keras_checkpoint):
    code, out, err = command("keras_parity", "convert", keras_checkpoint, "a.pt")
    assert (code, err) == (0, "")
    assert "wrote a.pt from" in out
    assert "on 70 test images, greatest difference of a logit" in out
    assert "0 changed predictions" in out


def _conv5x5_with(activation: str, name: str) -> keras.Model:
    """Keras's conv5x5 with another activation under the same names of layers."""
    layers = [
        keras.layers.Activation(activation, name=layer.name) if isinstance(layer, keras.layers.ReLU) else layer
        for layer in build_twin(layers_of("conv5x5")).layers
    ]
    return keras.Sequential([keras.Input((28, 28, 1)), *layers], name=name)


def test_what_a_keras_file_computes_is_what_is_compared(images, tmp_path):
    model = _conv5x5_with("tanh", "conv5x5")
    model.compile("sgd", "mse")
    model.save(tmp_path / "tanh.keras")
    with pytest.raises(UserError, match="would not compute what"):
        convert(tmp_path / "tanh.keras", tmp_path / "a.pt", images)


def test_bfloat16_is_widened(command, use_tiny_mnist, images, tmp_path):
    with in_dtype("float32"):  # put back behind the twin, which sets its own
        command("cnn_mnist", "fit", "--trainer.precision=bf16-true", *LIGHTNING)
        command("keras_parity", "--trainer.precision=bf16-true", *QUIET)
    convert(tmp_path / "lightning_logs/pytorch/version_0", tmp_path / "a.keras", images, with_optimizer=True)
    convert(tmp_path / "lightning_logs/keras/version_0", tmp_path / "a.ckpt", images, with_optimizer=True)
    assert keras_files.read_keras(tmp_path / "a.keras")[0].dtype == "float32"
    assert pytorch_files.read_ckpt(tmp_path / "a.ckpt")[0].slots["velocity"]["conv1/kernel"].dtype == "float32"


@pytest.mark.parametrize(
    ("optimizer", "told"),
    [
        (None, "got none"),
        (keras.optimizers.Nadam(), "got Nadam"),
        (keras.optimizers.Lion(), "got Lion"),
        (keras.optimizers.Adam(keras.optimizers.schedules.ExponentialDecay(1e-3, 10, 0.9)), "got ExponentialDecay"),
        (keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(1e-3, 10)), "got CosineDecay"),
        (keras.optimizers.Adam(amsgrad=True), "got Adam with amsgrad=True"),
    ],
    ids=["uncompiled", "Nadam", "Lion", "ExponentialDecay", "CosineDecay", "amsgrad"],
)
def test_of_an_optimizer_that_is_not_ours_the_weights_travel(images, tmp_path, optimizer, told):
    model = build_twin(layers_of("conv5x5"))
    if optimizer is not None:
        model.compile(optimizer, "mse")
        optimizer.build(model.trainable_variables)
    model.save(tmp_path / "a.keras")
    with pytest.warns(UserNotice, match=f"{told}; the weights alone are converted"):
        convert(tmp_path / "a.keras", tmp_path / "a.pt", images)
    with pytest.raises(UserError, match=f"--with_optimizer: expected an optimizer of .*{told}"):
        convert(tmp_path / "a.keras", tmp_path / "a.ckpt", images, with_optimizer=True)


def test_a_target_that_computes_something_else_is_not_written(keras_checkpoint, images, tmp_path, monkeypatch):
    (tmp_path / "a.pt").write_text("mine")
    monkeypatch.setattr(
        pytorch_files, "to_pytorch", lambda weights, layers: {k: -v for k, v in to_pytorch(weights, layers).items()}
    )
    with pytest.raises(UserError, match="would not compute what"):
        convert(keras_checkpoint, tmp_path / "a.pt", images)
    assert (tmp_path / "a.pt").read_text() == "mine"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("error", [OSError("No space left"), RuntimeError("No space left")])
def test_a_failure_of_writing_is_one_line_and_leaves_the_target(keras_checkpoint, images, tmp_path, monkeypatch, error):
    def fail(*_: object) -> None:
        raise error

    (tmp_path / "a.pt").write_text("mine")
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(UserError, match=r"expected a file that can be written, got .*a\.pt \(No space left\)"):
        convert(keras_checkpoint, tmp_path / "a.pt", images)
    assert (tmp_path / "a.pt").read_text() == "mine"


class TestRefusals:
    @pytest.fixture
    def refused(self, command, use_tiny_mnist):
        def run(*arguments: object) -> str:
            code, out, err = command("keras_parity", "convert", *arguments)
            assert code == 1
            assert out == ""
            assert err.count("\n") == 1
            return err

        return run

    @pytest.mark.parametrize("ending", [".ckpt", ".pt", ".safetensors", ".keras", ".weights.h5"])
    def test_a_truncated_file(self, refused, keras_checkpoint, images, tmp_path, ending):
        convert(keras_checkpoint, tmp_path / f"whole{ending}", images)
        (tmp_path / f"cut{ending}").write_bytes((tmp_path / f"whole{ending}").read_bytes()[:20_000])
        assert f"cut{ending}" in refused(f"cut{ending}", "a.pt", "--model.architecture=three_conv")
        assert not (tmp_path / "a.pt").exists()

    @pytest.mark.parametrize("ending", [".ckpt", ".pt", ".safetensors", ".keras", ".weights.h5"])
    def test_a_missing_file(self, refused, ending):
        assert f"none{ending}" in refused(f"none{ending}", "a.pt")

    def test_another_architecture(self, refused, tmp_path):
        torch.save({"fc.weight": torch.zeros(3, 3)}, tmp_path / "other.pt")
        flag = "--model.architecture=three_conv"
        assert "whose weights are not those of three_conv" in refused("other.pt", "a.keras", flag)
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
        assert "expected a network from images (28, 28, 1) to 10 logits" in refused("other.keras", "a.pt")
        build_twin(layers_of("conv5x5")).save_weights(tmp_path / "other.weights.h5")
        assert "expected the weights of three_conv, got other.weights.h5" in refused("other.weights.h5", "a.pt", flag)
        own = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        own.save(tmp_path / "own.keras")
        assert "expected the weights of three_conv, got own.keras" in refused("own.keras", "a.pt", flag)

    @pytest.mark.parametrize("ending", [".pt", ".weights.h5", ".keras"])
    def test_an_architecture_that_nobody_names(self, refused, tmp_path, ending):
        layers = layers_of("conv5x5")
        portable = Portable(layers, initial_weights(layers, "keras", 0))
        if ending == ".keras":
            _conv5x5_with("relu", "mine").save(tmp_path / "a.keras")
        else:
            FORMATS[ending].write(portable, tmp_path / f"a{ending}")
        message = (
            f"--model.architecture: expected one of three_conv, conv5x5 with a{ending}, which names no architecture"
        )
        assert message in refused(f"a{ending}", "b.ckpt")

    def test_another_architecture_than_the_file_names(self, refused, keras_checkpoint):
        line = refused(keras_checkpoint, "a.pt", "--model.architecture=conv5x5")
        assert "holds three_conv, got another; leave the flag out" in line

    def test_the_source_itself_as_the_target(self, refused, keras_checkpoint):
        before = keras_checkpoint.read_bytes()
        assert "expected another file to write than" in refused(keras_checkpoint, keras_checkpoint)
        assert keras_checkpoint.read_bytes() == before

    def test_an_unknown_ending_and_a_missing_folder(self, refused, keras_checkpoint):
        assert "expected a file that ends in one of .ckpt, .pt" in refused(keras_checkpoint, "a.onnx")
        assert "expected a folder that exists, got no/such" in refused(keras_checkpoint, "no/such/a.pt")

    def test_an_optimizer_that_is_not_there(self, refused, keras_checkpoint, images, tmp_path):
        convert(keras_checkpoint, tmp_path / "a.safetensors", images)
        assert "holds no optimizer" in refused("a.safetensors", "b.keras", "--with_optimizer")
        assert "to hold it, got b.pt" in refused(keras_checkpoint, "b.pt", "--with_optimizer")

    @pytest.mark.parametrize("ending", [".pt", ".ckpt"])
    def test_code_in_a_pickle_does_not_run(self, refused, tmp_path, ending):
        class Payload:
            def __reduce__(self):
                return (open, (str(tmp_path / "written"), "w"))

        torch.save({"state_dict": Payload()}, tmp_path / f"evil{ending}")
        assert "cannot be loaded safely" in refused(f"evil{ending}", "a.keras")
        assert not (tmp_path / "written").exists()

    def test_a_lambda_in_a_keras_file_does_not_run(self, refused, tmp_path):
        written = str(tmp_path / "written")
        lambda_layer = keras.layers.Lambda(lambda x, path=written: (Path(path).touch(), x)[1], output_shape=(3,))
        keras.Sequential([keras.Input((3,)), lambda_layer]).save(tmp_path / "evil.keras")
        (tmp_path / "written").unlink(missing_ok=True)  # building it ran it
        assert "cannot be loaded safely" in refused("evil.keras", "a.pt")
        assert not (tmp_path / "written").exists()


def test_the_real_test_images_are_what_the_command_compares_on(command, keras_checkpoint, monkeypatch, tiny_mnist):
    asked = []
    monkeypatch.setattr(mnist, "load", lambda folder: asked.append(folder) or tiny_mnist)
    command("keras_parity", "convert", keras_checkpoint, "a.pt", "--data.data_dir=elsewhere")
    assert asked == ["elsewhere"]
