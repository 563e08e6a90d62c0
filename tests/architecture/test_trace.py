import pytest

from cnn_mnist.architecture.layers import Conv, Dense, Flatten, MaxPool
from cnn_mnist.architecture.trace import ARCHITECTURES, layer_table, layers_of, trace
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


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_trace_gives_the_published_shapes_parameters_and_totals(name):
    table = layer_table(layers_of(name))[1:]
    for (_, shape, count, total), (published_shape, parameters, arithmetic), published_total in zip(
        table, PUBLISHED[name], TOTALS[name], strict=True
    ):
        assert shape == published_shape
        assert count == f"{parameters:,}" + (f" = {arithmetic}" if arithmetic else "")
        assert total == published_total


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_arithmetic_of_every_layer_comes_to_its_parameters(name):
    for traced in trace(layers_of(name)):
        assert eval(traced.arithmetic or "0") == traced.parameters


def test_pytorch_order_puts_channels_first():
    shapes = [row[1] for row in layer_table(layers_of("conv5x5"), "pytorch")]
    assert shapes == ["output (C x H x W)", "32x24x24", "32x12x12", "64x8x8", "64x4x4", "1024", "10"]


def test_layers_are_named_by_kind_and_number():
    names = [traced.name for traced in trace(layers_of("three_conv"))]
    assert names == ["conv1", "pool1", "conv2", "pool2", "conv3", "flatten1", "dense1", "dense2"]


def test_an_unknown_architecture_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="unknown architecture 'lenet': expected one of three_conv, conv5x5"):
        layers_of("lenet")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([Conv(8, 29)], "conv 8@29x29, ReLU: expected an input of at least the kernel's size, got 28x28x1"),
        ([MaxPool(30)], "max pool 30: expected an input of at least the window's size, got 28x28x1"),
        ([Dense(10)], "dense 10: expected a flat input, got 28x28x1; put a Flatten before it"),
        ([Flatten(), Conv(8, 3)], "conv 8@3x3, ReLU: expected height x width x channels, got 784"),
    ],
)
def test_a_layer_that_does_not_fit_is_named(layers, message):
    with pytest.raises(UserError, match=message):
        trace(layers)


def test_the_arithmetic_keeps_its_asterisks_in_markdown():
    table = markdown_table(layer_table(layers_of("three_conv")))
    assert r"| 36,928 = (3\*3\*64+1)\*64 |" in table
