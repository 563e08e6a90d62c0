import numpy as np
import pytest

from cnn_mnist.architecture.examples import EXAMPLES
from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.architecture.layouts import from_pytorch, to_pytorch


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_round_trip_through_pytorchs_layout_is_bitwise(name):
    layers = EXAMPLES[name]
    weights = initial_weights(layers, "pytorch", seed=0)
    back = from_pytorch(to_pytorch(weights, layers), layers)
    assert back.keys() == weights.keys()
    for array in weights:
        np.testing.assert_array_equal(back[array], weights[array])


def test_the_first_dense_layer_after_a_flatten_changes_the_order_of_its_inputs():
    layers = EXAMPLES["three_conv"]
    weights = initial_weights(layers, "keras", seed=0)
    state = to_pytorch(weights, layers)
    expected = weights["dense1/kernel"].reshape(3, 3, 64, 64).transpose(3, 2, 0, 1).reshape(64, 576)
    np.testing.assert_array_equal(state["dense1.weight"], expected)
    np.testing.assert_array_equal(state["dense2.weight"], weights["dense2/kernel"].T)
    np.testing.assert_array_equal(state["conv2.weight"], weights["conv2/kernel"].transpose(3, 2, 0, 1))


def test_keras_rule_is_glorot_uniform_with_zero_biases():
    weights = initial_weights(EXAMPLES["three_conv"], "keras", seed=0)
    kernel = weights["conv2/kernel"]  # fans 3*3*32 and 3*3*64
    limit = np.sqrt(6 / (288 + 576))
    assert kernel.dtype == np.float32
    assert 0.999 * limit < np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / np.sqrt(3), rel=0.02)
    assert not any(weights[name].any() for name in weights if name.endswith("bias"))


def test_pytorch_rule_is_uniform_by_fan_in_biases_included():
    weights = initial_weights(EXAMPLES["three_conv"], "pytorch", seed=0)
    limit = 1 / np.sqrt(576)
    for name in ("dense1/kernel", "dense1/bias"):
        assert 0.9 * limit < np.abs(weights[name]).max() <= limit


def test_the_rules_are_those_of_the_frameworks_themselves():
    from torch import nn

    ours = initial_weights(EXAMPLES["three_conv"], "pytorch", seed=0)["conv3/kernel"]
    theirs = nn.Conv2d(64, 64, 3).weight.detach().numpy()
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.01)


def test_seeds_differ_and_repeat():
    layers = EXAMPLES["conv5x5"]
    first, again, other = (initial_weights(layers, "keras", seed)["conv1/kernel"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
