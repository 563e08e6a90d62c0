import numpy as np
import pytest
import torch
from torch import nn

from cnn_mnist.architecture.examples import EXAMPLES
from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.architecture.layers import Activation, Dense, DepthwiseConv2D, Flatten
from cnn_mnist.architecture.network import Network
from cnn_mnist.pytorch.network import build_network, load_weights


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_built_network_has_the_parameters_that_trace_counts(name):
    network = build_network(EXAMPLES[name])
    assert sum(parameter.numel() for parameter in network.parameters()) == EXAMPLES[name].parameters


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_built_network_has_the_shapes_that_trace_gives(name):
    network = build_network(EXAMPLES[name])
    shapes = {}
    for module_name, module in network.named_modules():
        module.register_forward_hook(lambda _, __, out, key=module_name: shapes.update({key: tuple(out.shape[1:])}))
    network(torch.zeros(2, 1, 28, 28))
    for traced in EXAMPLES[name].placed:
        if isinstance(traced.layer, Activation):  # which may stand behind the pool that follows it
            continue
        shape = traced.output_shape
        assert shapes[traced.name] == ((shape[2], *shape[:2]) if len(shape) == 3 else shape)


def test_relu_after_the_pool_is_the_network_with_relu_before_it():
    layers = EXAMPLES["three_conv"]
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
    network = build_network(EXAMPLES["three_conv"])
    load_weights(network, initial_weights(EXAMPLES["three_conv"], "keras", 0), EXAMPLES["three_conv"])
    logits = network(torch.rand(4, 1, 28, 28))
    assert logits.shape == (4, 10)
    assert (logits < 0).any()
    assert not torch.allclose(logits.sum(dim=1), torch.ones(4))


def test_a_native_checkpoint_with_dropout_and_batch_norm_is_read_again(command, use_tiny_mnist, tmp_path):
    layers = "[{Conv2D: {filters: 2, kernel_size: 3}}, BatchNormalization, Flatten, {Dropout: 0.5}, {Dense: 10}]"
    flags = ("--model.align=native", "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false")
    assert command("cnn_mnist", "fit", f"--model.architecture={layers}", *flags)[0] == 0
    for arguments in (
        ("test",),
        ("predict",),
        ("fit", "--trainer.max_epochs=2", "--trainer.enable_progress_bar=false"),
    ):
        code, _, err = command("cnn_mnist", *arguments, "--ckpt_path=lightning_logs/pytorch/version_0")
        assert code == 0, err


def test_native_kernels_of_a_channel_of_its_own_start_as_pytorch_makes_them():
    network = Network([DepthwiseConv2D(5), Flatten(), Dense(10)], (28, 28, 16))
    ours = initial_weights(network, "pytorch", 0)["depthwise1/kernel"]
    assert 0.95 / 5 < np.abs(ours).max() <= 1 / 5  # kaiming_uniform_(a=sqrt(5)) with a fan of 5*5
