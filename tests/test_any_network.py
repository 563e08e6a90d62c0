"""Any network is the same in both frameworks: the layers' records keep their word."""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from hypothesis import HealthCheck, Phase, given, settings

from cnn_mnist.architecture.descriptions import plain
from cnn_mnist.architecture.examples import EXAMPLES
from cnn_mnist.architecture.in_keras import keras_source
from cnn_mnist.architecture.in_pytorch import pytorch_source
from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.architecture.layers import Activation
from cnn_mnist.architecture.layouts import from_pytorch, to_pytorch
from cnn_mnist.pytorch.network import build_network, load_weights
from cnn_mnist.settings import ModelSettings
from keras_parity.convert.cli import convert_weights
from keras_parity.convert.portable import Portable
from keras_parity.convert.pytorch_files import write_ckpt
from keras_parity.twin import network as twin
from keras_parity.twin.dtypes import in_dtype
from tests.networks import networks

LIMIT = 1e-10
SOME = settings(
    max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=(Phase.generate,)
)
MANY = settings(SOME, max_examples=300)


def both(network):
    """The network in both frameworks, float64, with the same weights."""
    weights = {name: array.astype(np.float64) for name, array in initial_weights(network, "keras", 1).items()}
    generator = np.random.default_rng(1)
    for name in weights:  # biases and statistics that show where they are forgotten
        weights[name] = weights[name] + generator.uniform(0.0, 0.1, weights[name].shape)
    module = build_network(network, seed=1).double()
    load_weights(module, weights, network)
    with in_dtype("float64"):
        model = twin.build_twin(network, seed=1)
    twin.load_weights(model, weights)
    return module, model


def data_of(network):
    generator = np.random.default_rng(0)
    images = generator.random((3, *network.input_shape))
    return images, torch.from_numpy(np.moveaxis(images, -1, 1).copy()), generator.integers(0, network.classes, 3)


def gradients(network, module, model, images, channels_first, labels):
    """Of both, by neutral name, after one training step's forward pass."""
    module.train().zero_grad()
    torch.nn.functional.cross_entropy(module(channels_first), torch.from_numpy(labels)).backward()
    ours = from_pytorch({name: parameter.grad.numpy() for name, parameter in module.named_parameters()}, network)
    with tf.GradientTape() as tape:
        logits = model(images, training=True)
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
    named = {n: v for n, v in twin.variables_of(model, network).items() if v.trainable}
    found = tape.gradient(loss, [variable.value for variable in named.values()])
    return ours, {name: gradient.numpy() for name, gradient in zip(named, found, strict=True)}


def same_in_both(network):
    module, model = both(network)
    images, channels_first, labels = data_of(network)
    assert sum(parameter.numel() for parameter in module.parameters()) == network.parameters
    assert sum(np.prod(variable.shape) for variable in model.trainable_variables) == network.parameters
    for place in network.placed:
        if not isinstance(place.layer, Activation):  # which may stand behind the pool that follows it
            assert model.get_layer(place.name).output.shape[1:] == place.output_shape
    with torch.no_grad():
        logits = module.eval()(channels_first).numpy()
    np.testing.assert_allclose(logits, model(images, training=False).numpy(), rtol=LIMIT, atol=LIMIT)
    for _ in range(5):
        ours, theirs = gradients(network, module, model, images, channels_first, labels)
        assert ours.keys() == theirs.keys()
        for name, gradient in ours.items():
            np.testing.assert_allclose(gradient, theirs[name], rtol=0, atol=LIMIT * max(1, np.abs(gradient).max()))
    statistics = from_pytorch({name: array.numpy() for name, array in module.state_dict().items()}, network)
    for name, array in twin.read_weights(model, network).items():
        np.testing.assert_allclose(statistics[name], array, rtol=LIMIT, atol=LIMIT)


def travels(network, folder):
    weights = initial_weights(network, "pytorch", 1)

    write_ckpt(Portable(weights, ModelSettings(architecture=plain(network))), folder / "a.ckpt")
    convert_weights(folder / "a.ckpt", folder / "b.keras")
    convert_weights(folder / "b.keras", folder / "c.ckpt")
    before, after = (torch.load(folder / name, weights_only=True)["state_dict"] for name in ("a.ckpt", "c.ckpt"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_packaged_network_is_the_same_in_both(name):
    same_in_both(EXAMPLES[name])


@SOME
@given(networks())
def test_a_random_network_is_the_same_in_both(network):
    same_in_both(network)


@SOME
@given(networks())
def test_a_random_network_travels_bitwise(tmp_path_factory, network):
    travels(network, tmp_path_factory.mktemp("files"))


@pytest.mark.slow
@MANY
@given(networks())
def test_300_random_networks_are_the_same_in_both(network):
    same_in_both(network)


@pytest.mark.slow
@MANY
@given(networks())
def test_300_random_networks_travel_bitwise(tmp_path_factory, network):
    travels(network, tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_printed_source_is_the_network(name):
    network, made = EXAMPLES[name], {}
    exec(pytorch_source(network), made)
    assert sum(parameter.numel() for parameter in made["network"].parameters()) == network.parameters
    weights = initial_weights(network, "keras", 0)
    state = {name: torch.from_numpy(array) for name, array in to_pytorch(weights, network).items()}
    made["network"].load_state_dict(state)
    images, channels_first, _ = data_of(network)
    with torch.no_grad():
        ours = made["network"].eval()(channels_first.float()).numpy()
    exec(keras_source(network), made)
    twin.load_weights(made["model"], weights)
    np.testing.assert_allclose(ours, made["model"](images.astype(np.float32), training=False).numpy(), atol=1e-5)
