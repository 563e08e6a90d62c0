"""Models that are objects in Python as descriptions: what is described computes what the object does."""

import keras
import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.convnext import LayerNorm2d

from cnn_mnist.architecture.descriptions import plain, read_network
from cnn_mnist.architecture.examples import EXAMPLES
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.module import Classifier
from cnn_mnist.pytorch.network import build_network


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_is_read_from_the_module_that_it_builds(name):
    built = build_network(EXAMPLES[name], "native")
    found = build_network(read_network(built), "native").eval()
    with torch.no_grad():
        for ours, theirs in zip(found.parameters(), built.parameters(), strict=True):
            ours.copy_(theirs)
        images = torch.rand(2, 1, 28, 28)
        torch.testing.assert_close(found(images), built.eval()(images), rtol=0, atol=1e-6)


def test_a_users_module_of_nested_stacks_and_another_size_is_read():
    features = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.GELU("tanh"), nn.AvgPool2d(2), nn.Dropout(0.25))
    depthwise = nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=8, bias=False)
    head = nn.Sequential(nn.BatchNorm2d(16), nn.LeakyReLU(0.1), nn.Flatten(), nn.Linear(16 * 8 * 8, 7))
    network = read_network(nn.Sequential(features, depthwise, head))
    assert plain(network) == [
        {"Input": [32, 32, 3]},
        {"Conv2D": {"filters": 8, "kernel_size": 3, "padding": "same"}},
        {"Activation": "gelu_tanh"},
        "AveragePooling2D",
        {"Dropout": 0.25},
        "ZeroPadding2D",
        {"DepthwiseConv2D": {"kernel_size": 3, "depth_multiplier": 2, "strides": 2, "use_bias": False}},
        {"BatchNormalization": {"momentum": 0.9, "epsilon": 1e-5}},
        {"LeakyReLU": 0.1},
        "Flatten",
        {"Dense": 7},
    ]


def test_norms_of_layers_are_read_behind_a_flatten_and_of_channels():
    layers = [
        nn.Conv2d(1, 4, 3),
        LayerNorm2d(4, eps=1e-3),
        nn.Flatten(),
        nn.LayerNorm(2704, eps=1e-3),
        nn.Linear(2704, 2),
    ]
    network = read_network(nn.Sequential(*layers))
    assert [str(layer).split("(")[0] for layer in network.layers].count("layer norm") == 2


def test_a_keras_model_is_read_and_a_classifier_takes_it():
    layers = [keras.layers.Conv2D(4, 3, activation="relu"), keras.layers.Flatten(), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((28, 28, 1)), *layers])
    images = np.random.default_rng(0).random((2, 28, 28, 1), dtype=np.float32)
    assert Classifier(architecture=model).settings.network.parameters == model.count_params()
    assert model.predict(images, verbose=0).shape == (2, read_network(model).classes)


def test_an_activation_that_is_used_twice_is_there_twice():
    relu = nn.ReLU()
    head = (nn.Linear(2704, 8), relu, nn.Linear(8, 2))
    network = read_network(nn.Sequential(nn.Conv2d(1, 4, 3), relu, nn.Flatten(), *head))
    assert [str(layer) for layer in network.layers].count("activation, ReLU") == 2


def test_a_keras_models_own_state_stays_and_its_dropout_is_compared_mask_by_mask():
    model = keras.Sequential([
        *(keras.Input((28, 28, 1)), keras.layers.BatchNormalization(), keras.layers.Flatten()),
        *(keras.layers.Dropout(0.5), keras.layers.Dense(3, activation="softmax")),
    ])  # fmt: skip
    before = [variable.numpy() for variable in model.variables]
    assert len(read_network(model).layers) == 4
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    model.layers[2].call = lambda inputs, training=False: inputs
    with pytest.raises(UserError, match="architecture: in training, the model differs from the network"):
        read_network(model)


class Subclassed(nn.Module):
    """A module whose forward() is code."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)


shared = nn.Linear(784, 784)
hooked = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
hooked[1].register_forward_hook(lambda module, inputs, output: output + 1)
overridden = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
overridden[0].forward = lambda images: images.flatten(1) ** 2

REFUSED = {
    "a class": (Subclassed(), "expected an nn.Sequential, got Subclassed, whose forward"),
    "an unknown layer": (nn.Sequential(nn.Flatten(), nn.Bilinear(4, 4, 2)), "layer 2: expected one of "),
    "a class of the same name": (
        nn.Sequential(type("Flatten", (nn.Flatten,), {})(), nn.Linear(784, 2)),
        "layer 1: exp",
    ),
    "a module used twice": (
        nn.Sequential(nn.Flatten(), shared, nn.Linear(784, 784), shared),
        "its weight with layer 2",
    ),
    "a hook": (hooked, "Linear: _forward_hooks changes what it computes; remove it"),
    "a method of one object": (overridden, "Flatten: forward changes what it computes"),
    "a frozen layer": (nn.Sequential(nn.Flatten(), nn.Linear(784, 2).requires_grad_(False)), "requires_grad=False"),
    "a norm of an image's width": (nn.Sequential(nn.LayerNorm(28), nn.Flatten(), nn.Linear(784, 2)), "found none"),
    "a norm of whole images": (nn.Sequential(nn.LayerNorm([1, 28, 28]), nn.Flatten(), nn.Linear(784, 2)), "found none"),
    "a flatten of some axes": (nn.Sequential(nn.Flatten(2)), "layer 1, Flatten: start_dim=2, which no record has"),
    "a divisor": (
        nn.Sequential(nn.AvgPool2d(2, divisor_override=3)),
        "layer 1, AvgPool2d: divisor_override=3",
    ),
    "pooling that pads": (nn.Sequential(nn.MaxPool2d(3, 2, 1)), "layer 1, MaxPool2d: padding=1"),
    "windows over the end": (
        nn.Sequential(nn.MaxPool2d(4, 2, ceil_mode=True), nn.Flatten(), nn.Linear(196, 2)),
        "ceil_mode windows that begin at its corner, found none",
    ),
    "reflection": (
        nn.Sequential(nn.Conv2d(1, 2, 3, padding=1, padding_mode="reflect")),
        "layer 1, Conv2d: padding_mode=reflect",
    ),
    "no square": (
        nn.Sequential(nn.Flatten(), nn.Linear(7, 2)),
        r"expected a square input image that gives \[7\] features",
    ),
    "part of the image": (nn.Sequential(nn.AdaptiveAvgPool2d(2)), "layer 1, AdaptiveAvgPool2d: output_size=2"),
    "a mean over all": (nn.Sequential(nn.BatchNorm2d(1, momentum=None)), "layer 1, BatchNorm2d.*momentum=None"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_record_does_is_refused(name):
    model, message = REFUSED[name]
    with pytest.raises(UserError, match=message):
        read_network(model)


def test_a_model_of_small_outputs_is_compared_by_their_size():
    model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    model.layers[1].kernel.assign(model.layers[1].kernel * 1e-5)
    assert len(read_network(model).layers) == 2
    model.layers[0].call = lambda inputs: keras.ops.reshape(inputs, (-1, 784)) * 2
    with pytest.raises(UserError, match="architecture: in inference, the model differs from the network"):
        read_network(model)
