"""A user's keras.json changes nothing: neither what is trained nor what is read, written and checked."""

import keras
import numpy as np
import pytest
import torch

from cnn_mnist.architecture.descriptions import read_network
from keras_parity import check
from keras_parity.convert.cli import convert_weights
from keras_parity.logs.run import read_run
from keras_parity.twin.network import build_twin
from tests.lives import QUIET

NET = [
    *({"Conv2D": {"filters": 4, "kernel_size": 3, "activation": "relu"}}, {"MaxPooling2D": 2}, "BatchNormalization"),
    *({"SeparableConv2D": {"filters": 6, "kernel_size": 3}}, "Flatten", {"Dense": 10}),
]


@pytest.fixture
def keras_json(monkeypatch):
    """Has Keras start as from a keras.json of channels first, float64 and another epsilon."""

    def change():
        keras.config.set_image_data_format("channels_first")
        keras.config.set_floatx("float64")
        keras.config.set_epsilon(1e-3)

    yield change
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)


def test_the_twin_trains_the_same(command, use_tiny_mnist, tmp_path, keras_json):
    (tmp_path / "net.yaml").write_text(str(NET))
    runs = []
    for version in range(2):
        code, _, err = command("keras_parity", *QUIET)
        assert code == 0, err
        runs.append(read_run(tmp_path / f"lightning_logs/keras/version_{version}").points)
        keras_json()
    for tag in ("train/loss", "test/loss", "test/acc"):
        assert [point.value for point in runs[0][tag]] == [point.value for point in runs[1][tag]]


def test_weights_are_converted_the_same(tmp_path, keras_json):
    network = read_network(NET)
    build_twin(network).save_weights(tmp_path / "a.weights.h5")
    convert_weights(tmp_path / "a.weights.h5", tmp_path / "a.pt", architecture=NET)
    keras_json()
    convert_weights(tmp_path / "a.weights.h5", tmp_path / "b.pt", architecture=NET)
    convert_weights(tmp_path / "b.pt", tmp_path / "c.keras", architecture=NET)
    convert_weights(tmp_path / "c.keras", tmp_path / "c.pt")
    held = [torch.load(tmp_path / name, weights_only=True) for name in ("a.pt", "b.pt", "c.pt")]
    for name, tensor in held[0].items():
        assert all(other[name].dtype == tensor.dtype and torch.equal(other[name], tensor) for other in held[1:])


def test_the_ladder_holds(command, use_tiny_mnist, keras_json):
    keras_json()
    code, out, err = command("keras_parity", "ladder", "--rungs=1-6")
    assert code == 0, out + err


def test_a_check_holds(keras_json):
    from cnn_mnist.pytorch.network import build_network

    network = read_network(NET)
    keras_json()
    images = np.random.default_rng(0).random((16, 28, 28, 1), np.float32)
    report = check(build_network(network, "keras"), build_twin(network), images, weights="keras")
    assert report.same_function
