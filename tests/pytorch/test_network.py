import pytest
import torch
from torch import nn

from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.architecture.trace import ARCHITECTURES, layers_of, trace
from cnn_mnist.pytorch.network import build_network, load_weights


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_built_network_has_the_parameters_that_trace_counts(name):
    network = build_network(layers_of(name))
    for traced in trace(layers_of(name)):
        module = network.get_submodule(traced.name)
        assert sum(parameter.numel() for parameter in module.parameters()) == traced.parameters
    assert sum(p.numel() for p in network.parameters()) == {"three_conv": 93_322, "conv5x5": 62_346}[name]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_built_network_has_the_shapes_that_trace_gives(name):
    network = build_network(layers_of(name))
    shapes = {}
    for module_name, module in network.named_modules():
        module.register_forward_hook(lambda _, __, out, key=module_name: shapes.update({key: tuple(out.shape[1:])}))
    network(torch.zeros(2, 1, 28, 28))
    for traced in trace(layers_of(name)):
        shape = traced.output_shape
        assert shapes[traced.name] == ((shape[2], *shape[:2]) if len(shape) == 3 else shape)


def test_relu_after_the_pool_is_the_network_with_relu_before_it():
    layers = layers_of("three_conv")
    network = build_network(layers).double()
    names = list(dict(network.named_children()))
    assert names.index("pool1") < names.index("conv1_relu")
    published = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10),
    ).double()  # fmt: skip
    for ours, theirs in zip(network.parameters(), published.parameters(), strict=True):
        theirs.data = ours.data.clone()
    images = torch.rand(16, 1, 28, 28, dtype=torch.float64).round(decimals=1)  # ties in the windows
    images[:4] = 0
    outputs = [model(images) for model in (network, published)]
    torch.testing.assert_close(*outputs, rtol=1e-13, atol=1e-13)
    for output in outputs:
        output.square().sum().backward()
    for ours, theirs in zip(network.parameters(), published.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-11, atol=1e-11)


def test_the_network_emits_logits():
    network = build_network(layers_of("three_conv"))
    load_weights(network, initial_weights(layers_of("three_conv"), "keras", 0), layers_of("three_conv"))
    logits = network(torch.rand(4, 1, 28, 28))
    assert logits.shape == (4, 10)
    assert (logits < 0).any()
    assert not torch.allclose(logits.sum(dim=1), torch.ones(4))
