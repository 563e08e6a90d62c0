"""Weights and optimizers travel both ways."""

from dataclasses import asdict
from pathlib import Path

import keras
import numpy as np
import pytest
import torch

from cnn_mnist.architecture.descriptions import read_network
from cnn_mnist.architecture.examples import EXAMPLES
from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.architecture.layer_spec import ACTIVATIONS
from cnn_mnist.architecture.layers import Conv2D, Dense, Flatten
from cnn_mnist.architecture.layouts import to_pytorch
from cnn_mnist.architecture.network import Network
from cnn_mnist.data import mnist
from cnn_mnist.data.mnist import scale
from cnn_mnist.errors import UserError, UserNotice
from cnn_mnist.settings import ModelSettings
from keras_parity.convert import keras_files, pytorch_files
from keras_parity.convert.cli import FORMATS, convert_weights
from keras_parity.convert.portable import Portable
from keras_parity.logs.run import read_run
from keras_parity.twin.dtypes import in_dtype
from keras_parity.twin.network import build_twin, read_weights
from tests.pytorch.test_optimizers import VARIANTS

QUIET = ("--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--trainer.max_epochs=1")
WEIGHTS_ALONE = {".pt": "three_conv", ".weights.h5": "three_conv"}
LIGHTNING = ("--trainer.enable_model_summary=false", *QUIET)


@pytest.fixture
def images(tiny_mnist):
    return scale(tiny_mnist.test_images)[..., None]


@pytest.fixture
def lightning_checkpoint(train):
    return next(train("cnn_mnist", "fit", "--model.architecture=conv5x5", *LIGHTNING).rglob("*.ckpt"))


@pytest.fixture
def keras_checkpoint(train):
    return next(train("keras_parity", *QUIET).rglob("*.keras"))


def test_ckpt_to_keras_to_ckpt_is_bitwise_the_same_optimizer_included(lightning_checkpoint, images, tmp_path):
    convert_weights(lightning_checkpoint, tmp_path / "a.keras", images, with_optimizer=True)
    convert_weights(tmp_path / "a.keras", tmp_path / "b.ckpt", images, with_optimizer=True)
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
    agreement = convert_weights(keras_checkpoint, tmp_path / f"there{ending}", images)
    assert agreement.difference < 1e-4
    assert agreement.changed == 0
    convert_weights(
        tmp_path / f"there{ending}", tmp_path / "back.keras", images, architecture=WEIGHTS_ALONE.get(ending)
    )
    before, after = (keras_files.read_keras(path)[0].weights for path in (keras_checkpoint, tmp_path / "back.keras"))
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])


def test_a_describedwithout_a_name_travels_too(images, tmp_path):
    network = Network([Conv2D(4, 3, activation="relu"), Flatten(), Dense(10)])
    weights = initial_weights(network, "pytorch", 0)
    torch.save({k: torch.from_numpy(v) for k, v in to_pytorch(weights, network).items()}, tmp_path / "own.pt")
    convert_weights(tmp_path / "own.pt", tmp_path / "own.keras", images, architecture=network)
    for name, array in keras_files.read_keras(tmp_path / "own.keras")[0].weights.items():
        np.testing.assert_array_equal(array, weights[name])


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_training_goes_on_in_the_other_framework_for_20_float64_steps(settings, tiny_mnist, tmp_path):
    described, settings = EXAMPLES["conv5x5"], ModelSettings(architecture="conv5x5", **settings)
    weights = {k: v.astype(np.float64) for k, v in initial_weights(described, "keras", 0).items()}
    images = scale(tiny_mnist.train_images).astype(np.float64)
    labels = tiny_mnist.train_labels.astype(np.int64)

    def torch_steps(network, optimizer, steps):
        for step in steps:
            place = slice(10 * step, 10 * step + 10)
            optimizer.zero_grad()
            logits = network(torch.from_numpy(images[place]).unsqueeze(1))
            torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[place])).backward()
            optimizer.step()

    network, optimizer = pytorch_files.make_torch_optimizer(Portable(weights, settings))
    torch_steps(network, optimizer, range(5))
    checkpoint = {
        "state_dict": {f"network.{name}": tensor for name, tensor in network.state_dict().items()},
        "hyper_parameters": asdict(settings),
        "global_step": 5,
        "optimizer_states": [optimizer.state_dict()],
    }
    torch.save(checkpoint, tmp_path / "a.ckpt")
    convert_weights(tmp_path / "a.ckpt", tmp_path / "a.keras", images[..., None], with_optimizer=True)

    torch_steps(network, optimizer, range(5, 25))
    portable, _ = keras_files.read_keras(tmp_path / "a.keras")
    assert portable.settings.optimizer == settings.optimizer
    model = keras_files.make_keras_model(portable)
    with in_dtype("float64"):
        for step in range(5, 25):
            place = slice(10 * step, 10 * step + 10)
            model.train_on_batch(images[place, ..., None], labels[place])
    ours = read_weights(model, described)
    theirs = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    for name, array in to_pytorch(ours, described).items():
        np.testing.assert_allclose(array, theirs[name], rtol=0, atol=1e-10)


def test_keras_then_pytorch_then_keras_is_one_training(command, use_tiny_mnist, images, tmp_path):
    flags = [*LIGHTNING[:-1], "--trainer.precision=64-true"]

    def trained(epochs, *flags_of_one, run):
        code, _, err = command("keras_parity", *flags, f"--trainer.max_epochs={epochs}", *flags_of_one)
        assert code == 0, err
        (path,) = Path(f"lightning_logs/keras/version_{run}/checkpoints").iterdir()
        return path

    network = "--model.architecture=mnist_convnet"  # whose dropout has a mask for every update
    convert_weights(trained(1, network, run=0), tmp_path / "a.ckpt", images, with_optimizer=True)
    code, _, err = command("cnn_mnist", "fit", "--ckpt_path=a.ckpt", *flags, "--trainer.max_epochs=2")
    assert code == 0, err
    scalars = read_run("lightning_logs/pytorch/version_0").points["train/loss"]
    assert [point.step for point in scalars] == [8]  # the second epoch of 4 updates, and no other
    convert_weights(tmp_path / "lightning_logs/pytorch/version_0", tmp_path / "b.keras", images, with_optimizer=True)
    ours, whole = trained(3, network, "--ckpt_path=b.keras", run=1), trained(3, network, run=2)
    ours, whole = (keras_files.read_keras(path)[0] for path in (ours, whole))
    assert ours.iterations == whole.iterations == 12
    for name, array in whole.weights.items():
        np.testing.assert_allclose(ours.weights[name], array, rtol=0, atol=1e-10)


def test_a_converted_checkpoint_that_fit_cannot_go_on_from_is_one_line(command, keras_checkpoint, images, tmp_path):
    convert_weights(keras_checkpoint, tmp_path / "a.ckpt", images, with_optimizer=True)
    code, _, err = command("cnn_mnist", "fit", "--ckpt_path=a.ckpt", *LIGHTNING)
    assert (code, "has 1 epochs already; set --trainer.max_epochs above that" in err) == (1, True), err
    code, _, err = command("cnn_mnist", "fit", "--ckpt_path=a.ckpt", "--data.batch_size=100", *LIGHTNING)
    assert (code, "expected the end of an epoch of 3 updates" in err) == (1, True), err
    assert not list((tmp_path / "lightning_logs/pytorch").glob("*"))


def test_ones_own_network_may_be_typed_again_beside_its_checkpoint(command, use_tiny_mnist, images, tmp_path):
    layers = "- Conv2D: {filters: 4, kernel_size: 3, activation: relu}\n- MaxPooling2D\n- Flatten\n- Dense: 10\n"
    (tmp_path / "net.yaml").write_text(layers)
    own = ("--model.architecture=net.yaml", *LIGHTNING[:-1], "--trainer.max_epochs=2")
    command("keras_parity", *own[:-1], "--trainer.max_epochs=1")
    code, _, err = command("keras_parity", *own, "--ckpt_path=lightning_logs/keras/version_0")
    assert code == 0, err
    convert_weights(tmp_path / "lightning_logs/keras/version_0", tmp_path / "a.ckpt", images, with_optimizer=True)
    code, _, err = command("cnn_mnist", "fit", *own, "--ckpt_path=a.ckpt")  # whose ReLU stands behind the pool
    assert code == 0, err
    (tmp_path / "net.yaml").write_text(layers.replace("relu", "tanh"))
    code, _, err = command("cnn_mnist", "fit", *own, "--ckpt_path=a.ckpt")
    assert (code, "--model.architecture: a.ckpt was trained with" in err) == (1, True), err


def test_the_command_converts_and_says_how_well(command, keras_checkpoint):
    code, out, err = command("keras_parity", "convert", keras_checkpoint, "a.pt")
    assert (code, err) == (0, "")
    assert "wrote a.pt from" in out
    assert "compared on 70 test images: largest difference of a logit" in out
    assert "0 changed predictions" in out


START = [{"Conv2D": {"filters": 4, "kernel_size": 3, "padding": "same", "activation": "relu"}}, "BatchNormalization"]
END = ["Flatten", {"Dense": 10}]
SAME_SHAPES = {  # each has the weights' shapes of START + MaxPooling2D + END, and is another function
    **{
        f"activation {name}": [{"Conv2D": START[0]["Conv2D"] | {"activation": name}}, START[1], "MaxPooling2D", *END]
        for name in ACTIVATIONS
        if name not in ("relu", "softmax")
    },
    "no activation": [{"Conv2D": {"filters": 4, "kernel_size": 3, "padding": "same"}}, START[1], "MaxPooling2D", *END],
    "average pooling": [*START, "AveragePooling2D", *END],
    "pooling of 3": [*START, {"MaxPooling2D": {"pool_size": 3, "strides": 2, "padding": "same"}}, *END],
    "strides": [{"Conv2D": START[0]["Conv2D"] | {"strides": 2}}, START[1], *END],
    "dilation": [{"Conv2D": START[0]["Conv2D"] | {"dilation_rate": 2}}, START[1], "MaxPooling2D", *END],
    "padding before": [
        {"Conv2D": START[0]["Conv2D"] | {"padding": [[2, 0], [2, 0]]}}, START[1], "MaxPooling2D", *END
    ],
    "epsilon": [START[0], {"BatchNormalization": {"epsilon": 0.1}}, "MaxPooling2D", *END],
    "activation behind the norm": [
        {"Conv2D": START[0]["Conv2D"] | {"activation": None}}, START[1], {"Activation": "relu"}, "MaxPooling2D", *END
    ],
    "leaky slope": [
        {"Conv2D": START[0]["Conv2D"] | {"activation": None}}, {"LeakyReLU": 0.01}, START[1], "MaxPooling2D", *END
    ],
    "an activation more": [*START, {"Activation": "relu"}, "MaxPooling2D", *END],
    "norm behind the pool": [START[0], "MaxPooling2D", START[1], *END],
}  # fmt: skip


@pytest.mark.parametrize("description", SAME_SHAPES.values(), ids=SAME_SHAPES)
def test_a_network_with_the_shapes_of_another_converts_to_itself(tmp_path, description):
    ours, other = read_network(description), read_network([*START, "MaxPooling2D", *END])
    assert ours != other
    assert initial_weights(ours, "keras", 0).keys() == initial_weights(other, "keras", 0).keys()
    build_twin(ours).save(tmp_path / "a.keras")
    with pytest.warns(UserNotice, match="only the weights are converted"):
        agreement = convert_weights(tmp_path / "a.keras", tmp_path / "a.ckpt")
    assert (agreement.changed, agreement.difference < 1e-9) == (0, True)
    assert read_network(str(tmp_path / "a.ckpt")) == ours


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module.network."])
@pytest.mark.parametrize("inside", [None, "state_dict", "model_state_dict", "model"])
def test_state_dicts_as_people_keep_them_are_opened(images, tmp_path, prefix, inside):
    network = EXAMPLES["conv5x5"]
    state = to_pytorch(initial_weights(network, "pytorch", 0), network)
    kept = {prefix + name: torch.nn.Parameter(torch.from_numpy(array)) for name, array in state.items()}
    torch.save({"epoch": 3, inside: kept} if inside else kept, tmp_path / "a.pth")
    convert_weights(tmp_path / "a.pth", tmp_path / "a.keras", images, architecture="conv5x5")
    for name, array in keras_files.read_keras(tmp_path / "a.keras")[0].weights.items():
        np.testing.assert_array_equal(array, initial_weights(network, "pytorch", 0)[name])


def test_other_names_are_matched_by_order_and_shape_and_said(images, tmp_path):
    network = EXAMPLES["conv5x5"]
    state = to_pytorch(initial_weights(network, "pytorch", 0), network)
    torch.save({f"layer{n}": torch.from_numpy(a) for n, a in enumerate(state.values())}, tmp_path / "a.pt")
    with pytest.warns(UserNotice, match=r"matched by order and shape \(layer0 as conv1\.weight and 5 more\)"):
        convert_weights(tmp_path / "a.pt", tmp_path / "a.keras", images, architecture=network)


def test_a_stock_keras_model_with_a_softmax_and_default_names_converts(images, tmp_path):
    layers = keras.layers
    model = keras.Sequential([
        *(keras.Input((28, 28, 1)), layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D()),
        *(layers.Dropout(0.5), layers.Flatten(), layers.Dense(10, activation="softmax")),
    ])  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save(tmp_path / "stock.keras")
    with pytest.warns(UserNotice, match="matched by order and shape"):
        agreement = convert_weights(tmp_path / "stock.keras", tmp_path / "a.ckpt", images)
    assert (agreement.changed, agreement.difference < 1e-9) == (0, True)


def test_bfloat16_is_widened(command, use_tiny_mnist, images, tmp_path):
    with in_dtype("float32"):  # put back behind the twin, which sets its own
        command("cnn_mnist", "fit", "--trainer.precision=bf16-true", *LIGHTNING)
        command("keras_parity", "--trainer.precision=bf16-true", *QUIET)
    convert_weights(tmp_path / "lightning_logs/pytorch/version_0", tmp_path / "a.keras", images, with_optimizer=True)
    convert_weights(tmp_path / "lightning_logs/keras/version_0", tmp_path / "a.ckpt", images, with_optimizer=True)
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
    model = build_twin(EXAMPLES["conv5x5"])
    if optimizer is not None:
        model.compile(optimizer, "mse")
        optimizer.build(model.trainable_variables)
    model.save(tmp_path / "a.keras")
    with pytest.warns(UserNotice, match=f"{told}; only the weights are converted"):
        convert_weights(tmp_path / "a.keras", tmp_path / "a.pt", images)
    with pytest.raises(UserError, match=f"--with_optimizer: expected one of .*{told}"):
        convert_weights(tmp_path / "a.keras", tmp_path / "a.ckpt", images, with_optimizer=True)


def test_a_target_that_computes_something_else_is_not_written(keras_checkpoint, images, tmp_path, monkeypatch):
    (tmp_path / "a.pt").write_text("mine")
    monkeypatch.setattr(
        pytorch_files, "to_pytorch", lambda weights, layers: {k: -v for k, v in to_pytorch(weights, layers).items()}
    )
    with pytest.raises(UserError, match="would not agree with"):
        convert_weights(keras_checkpoint, tmp_path / "a.pt", images, overwrite=True)
    assert (tmp_path / "a.pt").read_text() == "mine"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("error", [OSError("No space left"), RuntimeError("No space left")])
def test_a_failure_of_writing_is_one_line_and_leaves_the_target(keras_checkpoint, images, tmp_path, monkeypatch, error):
    def fail(*_: object) -> None:
        raise error

    (tmp_path / "a.pt").write_text("mine")
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(UserError, match=r"expected a file that can be written, got .*a\.pt \(No space left\)"):
        convert_weights(keras_checkpoint, tmp_path / "a.pt", images, overwrite=True)
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
        convert_weights(keras_checkpoint, tmp_path / f"whole{ending}", images)
        (tmp_path / f"cut{ending}").write_bytes((tmp_path / f"whole{ending}").read_bytes()[:20_000])
        assert f"cut{ending}" in refused(f"cut{ending}", "a.pt", "--model.architecture=three_conv")
        assert not (tmp_path / "a.pt").exists()

    @pytest.mark.parametrize("ending", [".ckpt", ".pt", ".safetensors", ".keras", ".weights.h5"])
    def test_a_missing_file(self, refused, ending):
        assert f"none{ending}" in refused(f"none{ending}", "a.pt")

    def test_another_architecture(self, refused, tmp_path):
        torch.save({"fc.weight": torch.zeros(3, 3)}, tmp_path / "other.pt")
        flag = "--model.architecture=three_conv"
        assert "expected 10 arrays in other.pt, got 1 (see conv1.weight)" in refused("other.pt", "a.keras", flag)
        build_twin(EXAMPLES["conv5x5"]).save_weights(tmp_path / "other.weights.h5")
        assert "expected the weights of the network, got other.weights.h5" in refused("other.weights.h5", "a.pt", flag)
        own = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        own.save(tmp_path / "own.keras")
        assert "own.keras holds another network; leave the flag out" in refused("own.keras", "a.pt", flag)

    @pytest.mark.parametrize("ending", [".pt", ".weights.h5"])
    def test_an_architecture_that_nobody_names(self, refused, tmp_path, ending):
        settings = ModelSettings(architecture="conv5x5")
        FORMATS[ending].write(
            Portable(initial_weights(settings.network, "keras", 0), settings), tmp_path / f"a{ending}"
        )
        message = f"--model.architecture: expected with a{ending}, which holds only weights; name the network"
        assert message in refused(f"a{ending}", "b.ckpt")

    def test_the_source_itself_as_the_target(self, refused, keras_checkpoint):
        before = keras_checkpoint.read_bytes()
        assert "expected another target than the source" in refused(keras_checkpoint, keras_checkpoint)
        assert keras_checkpoint.read_bytes() == before

    def test_a_target_that_exists_is_kept_without_overwrite(self, refused, command, keras_checkpoint, tmp_path):
        (tmp_path / "a.pt").write_text("mine")
        assert "got a.pt, which exists; --overwrite replaces it" in refused(keras_checkpoint, "a.pt")
        assert (tmp_path / "a.pt").read_text() == "mine"
        code, out, _ = command("keras_parity", "convert", keras_checkpoint, "a.pt", "--overwrite")
        assert code == 0
        assert 'next: network.load_state_dict(torch.load("a.pt", weights_only=True))' in out

    def test_an_unknown_ending_and_a_missing_folder(self, refused, keras_checkpoint):
        assert "expected a file with one of the endings .ckpt, .pt" in refused(keras_checkpoint, "a.onnx")
        assert "expected an existing folder for a.pt, got no/such" in refused(keras_checkpoint, "no/such/a.pt")

    def test_an_optimizer_that_is_not_there(self, refused, keras_checkpoint, images, tmp_path):
        convert_weights(keras_checkpoint, tmp_path / "a.safetensors", images)
        assert "has no optimizer" in refused("a.safetensors", "b.keras", "--with_optimizer")
        assert "as target, got b.pt" in refused(keras_checkpoint, "b.pt", "--with_optimizer")

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
        assert "layer 1: expected one of" in refused("evil.keras", "a.pt")
        assert not (tmp_path / "written").exists()


def test_the_real_test_images_are_what_the_command_compares_on(command, keras_checkpoint, monkeypatch, tiny_mnist):
    asked = []
    monkeypatch.setattr(mnist, "load_mnist", lambda folder: asked.append(folder) or tiny_mnist)
    command("keras_parity", "convert", keras_checkpoint, "a.pt", "--data.data_dir=elsewhere")
    assert asked == ["elsewhere"]
