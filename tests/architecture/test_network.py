import numpy as np
import pytest

from cnn_mnist.architecture.descriptions import plain
from cnn_mnist.architecture.examples import EXAMPLES
from cnn_mnist.architecture.layers import Activation, Conv2D, Dense, Dropout, Flatten, MaxPooling2D, SeparableConv2D
from cnn_mnist.architecture.network import Network, layer_table
from cnn_mnist.console.tables import markdown_table
from cnn_mnist.errors import UserError

# (output shape in Keras's order, parameters, arithmetic) of each layer, as published.
PUBLISHED = {
    "three_conv": [
        ("26x26x32", 320, "(3*3*1+1)*32"),
        ("13x13x32", 0, ""),
        ("11x11x64", 18_496, "(3*3*32+1)*64"),
        ("5x5x64", 0, ""),
        ("3x3x64", 36_928, "(3*3*64+1)*64"),
        ("576", 0, ""),
        ("64", 36_928, "(576+1)*64"),
        ("10", 650, "(64+1)*10"),
    ],
    "conv5x5": [
        ("24x24x32", 832, "(5*5*1+1)*32"),
        ("12x12x32", 0, ""),
        ("8x8x64", 51_264, "(5*5*32+1)*64"),
        ("4x4x64", 0, ""),
        ("1024", 0, ""),
        ("10", 10_250, "(1024+1)*10"),
    ],
}
TOTALS = {
    "three_conv": ["320", "320", "18,816", "18,816", "55,744", "55,744", "92,672", "93,322"],
    "conv5x5": ["832", "832", "52,096", "52,096", "52,096", "62,346"],
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_trace_gives_the_published_shapes_parameters_and_totals(name):
    table = layer_table(EXAMPLES[name])[1:]
    for (_, shape, count, total, _), (published_shape, parameters, arithmetic), published_total in zip(
        table, PUBLISHED[name], TOTALS[name], strict=True
    ):
        assert shape == published_shape
        assert count == f"{parameters:,}" + (f" = {arithmetic}" if arithmetic else "")
        assert total == published_total


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_arithmetic_of_every_layer_comes_to_its_parameters(name):
    for traced in EXAMPLES[name].placed:
        assert eval(traced.arithmetic or "0") == traced.parameters


def test_pytorch_order_puts_channels_first():
    shapes = [row[1] for row in layer_table(EXAMPLES["conv5x5"], "pytorch")]
    assert shapes == ["output (CxHxW)", "32x24x24", "32x12x12", "64x8x8", "64x4x4", "1024", "10"]


def test_layers_are_named_by_kind_and_number():
    names = [traced.name for traced in EXAMPLES["three_conv"].placed]
    assert names == ["conv1", "pool1", "conv2", "pool2", "conv3", "flatten1", "dense1", "dense2"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Conv2D(8, 29)], "layer 1, conv 8@29x29: expected an input of at least 29x29, got 28x28x1"),
        ([MaxPooling2D(30)], "layer 1, max pool 30: expected an input of at least 30x30, got 28x28x1"),
        ([Dense(10)], "layer 1, dense 10: expected a flat input, got 28x28x1; put a Flatten before it"),
        (
            [Flatten(), Conv2D(8, 3, activation="relu")],
            "layer 2, conv 8@3x3, ReLU: expected height x width x channels, got 784",
        ),
    ],
)
def test_a_layer_that_does_not_fit_is_named(layers, message):
    with pytest.raises(UserError, match=message):
        Network(layers)


def test_the_arithmetic_keeps_its_asterisks_in_markdown():
    table = markdown_table(layer_table(EXAMPLES["three_conv"]))
    assert r"| 36,928 = (3\*3\*64+1)\*64 |" in table


def test_the_published_networks_have_their_published_parameters():
    assert EXAMPLES["mnist_convnet"].parameters == 34_826
    assert EXAMPLES["pytorch_example"].parameters == 1_199_882


def test_a_relu_stands_behind_the_pool_that_follows_it_and_nowhere_else():
    relu, pool = Activation("relu"), MaxPooling2D(2)
    network = Network([Conv2D(4, 3), relu, pool, Conv2D(4, 3, activation="tanh"), pool, relu, Flatten(), Dense(10)])
    names = [place.name for place in network.modules]
    assert names[:6] == ["conv1", "pool1", "activation1", "conv2", "conv2_tanh", "pool2"]


def test_a_softmax_at_the_end_is_left_out_and_refused_elsewhere():
    start = [Flatten(), Dense(10)]
    assert Network([Flatten(), Dense(10, activation="softmax")]) == Network(start)
    assert Network([*start, Activation("softmax")]) == Network(start)
    with pytest.raises(UserError, match="layer 2, dense 10, softmax: expected activation softmax only at the end"):
        Network([Flatten(), Dense(10, activation="softmax"), Dense(10)])


def test_multiply_adds_are_those_of_every_place_that_a_kernel_is_laid_on():
    network = Network([SeparableConv2D(8, 3), Flatten(), Dense(10)])
    assert network.placed[0].multiply_adds == 26 * 26 * (9 + 8)
    assert network.placed[2].multiply_adds == 26 * 26 * 8 * 10


def test_numbers_of_numpy_are_stored_as_pythons():
    network = Network([Flatten(), Dropout(np.float32(0.5)), Dense(np.int64(3))])
    assert plain(network) == ["Flatten", {"Dropout": 0.5}, {"Dense": 3}]
    assert [type(network.layers[1].rate), type(network.layers[2].units)] == [float, int]
