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
from cnn_mnist.errors import UserError
from cnn_mnist.settings import ModelSettings
from keras_parity.convert import keras_files, pytorch_files
from keras_parity.convert.cli import convert
from keras_parity.convert.portable import Portable
from tests.pytorch.test_optimizers import VARIANTS

QUIET = ("--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--trainer.max_epochs=1")
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
    convert(tmp_path / f"there{ending}", tmp_path / "back.keras", images)
    before, after = (keras_files.read_keras(path).weights for path in (keras_checkpoint, tmp_path / "back.keras"))
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_a_list_of_layers_without_a_name_travels_too(images, tmp_path):
    layers = (Conv(4, 3), Flatten(), Dense(10))
    weights = initial_weights(layers, "pytorch", 0)
    torch.save({k: torch.from_numpy(v) for k, v in to_pytorch(weights, layers).items()}, tmp_path / "own.pt")
    convert(tmp_path / "own.pt", tmp_path / "own.keras", images, layers=layers)
    for name, array in keras_files.read_keras(tmp_path / "own.keras", layers).weights.items():
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
    portable = keras_files.read_keras(tmp_path / "a.keras")
    assert portable.settings.optimizer == settings.optimizer
    with keras_files.dtype_of(portable.weights):
        model = keras_files.make_keras_model(portable)
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
    made = next((tmp_path / "lightning_logs/pytorch").rglob("*.ckpt"))
    convert(made, tmp_path / "b.keras", images, with_optimizer=True)
    code, _, err = command("keras_parity", "--ckpt_path=b.keras", *QUIET[:2], "--trainer.max_epochs=3")
    assert code == 0, err


def test_the_command_converts_and_says_how_well(command, keras_checkpoint):
    code, out, err = command("keras_parity", "convert", keras_checkpoint, "a.pt")
    assert (code, err) == (0, "")
    assert "-> a.pt: on 70 test images, greatest difference of a logit" in out
    assert "0 changed predictions" in out


def test_a_target_that_computes_something_else_is_taken_away(keras_checkpoint, images, tmp_path, monkeypatch):
    monkeypatch.setattr(
        pytorch_files, "to_pytorch", lambda weights, layers: {k: -v for k, v in to_pytorch(weights, layers).items()}
    )
    with pytest.raises(UserError, match="does not compute what"):
        convert(keras_checkpoint, tmp_path / "a.pt", images)
    assert not (tmp_path / "a.pt").exists()


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
        assert f"cut{ending}" in refused(f"cut{ending}", "a.pt")
        assert not (tmp_path / "a.pt").exists()

    @pytest.mark.parametrize("ending", [".ckpt", ".pt", ".safetensors", ".keras", ".weights.h5"])
    def test_a_missing_file(self, refused, ending):
        assert f"none{ending}" in refused(f"none{ending}", "a.pt")

    def test_another_architecture(self, refused, tmp_path):
        torch.save({"fc.weight": torch.zeros(3, 3)}, tmp_path / "other.pt")
        assert "whose weights are not those of three_conv, conv5x5" in refused("other.pt", "a.keras")
        keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
        assert "expected the weights of one of three_conv, conv5x5" in refused("other.keras", "a.pt")

    def test_an_unknown_ending_and_a_missing_folder(self, refused, keras_checkpoint):
        assert "expected a file that ends in one of .ckpt, .pt" in refused(keras_checkpoint, "a.onnx")
        assert "expected a folder that exists, got no/such" in refused(keras_checkpoint, "no/such/a.pt")

    def test_an_optimizer_that_is_not_there(self, refused, keras_checkpoint, images, tmp_path):
        convert(keras_checkpoint, tmp_path / "a.pt", images)
        assert "holds no optimizer" in refused("a.pt", "b.keras", "--with_optimizer=true")
        assert "to hold it, got b.pt" in refused(keras_checkpoint, "b.pt", "--with_optimizer=true")

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
