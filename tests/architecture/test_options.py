"""Random options of every known layer: rebuilt and equal in both modes, or refused by the name of an option."""

import random

import keras
import numpy as np
import pytest
import torch
from keras import layers
from torch import nn
from torchvision.models.convnext import LayerNorm2d

from cnn_mnist.architecture.descriptions import read_network
from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.architecture.layouts import to_pytorch
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.network import build_network
from keras_parity.twin.network import variables_of

SIZE, CHANNELS, FEATURES = 12, 4, 4 * 12 * 12
FLAG, PAIR = (True, False), (1, 2, 3, (2, 3))

# Of each option the values that are tried; the first is its usual one.
CONVOLUTION = {
    "kernel_size": (3, *PAIR), "stride": (1, 2, (1, 2)), "padding": (0, 1, (1, 0), "same", "valid"), "bias": FLAG,
    "dilation": (1, 2), "groups": (1, 2, 4), "padding_mode": ("zeros", "reflect", "circular", "replicate"),
}  # fmt: skip
POOL = {"kernel_size": (2, *PAIR), "stride": (None, *PAIR), "padding": (0, 1), "ceil_mode": FLAG[::-1]}
INPLACE = {"inplace": FLAG[::-1]}
IN_PYTORCH = {
    "Conv2d": {"in_channels": (CHANNELS,), "out_channels": (4, 8), **CONVOLUTION},
    "MaxPool2d": {**POOL, "dilation": (1, 2), "return_indices": FLAG[::-1]},
    "AvgPool2d": {**POOL, "count_include_pad": FLAG, "divisor_override": (None, 3)},
    "AdaptiveAvgPool2d": {"output_size": (1, (1, 1), 2, (1, 2))},
    "AdaptiveMaxPool2d": {"output_size": (1, 2, (1, None)), "return_indices": FLAG[::-1]},
    "BatchNorm2d": {
        "num_features": (CHANNELS,), "eps": (1e-5, 1e-2, 0.0), "momentum": (0.1, 0.5, 1.0, 0.0, None), "affine": FLAG,
        "track_running_stats": FLAG, "bias": FLAG,
    },
    "LayerNorm2d": {"normalized_shape": (CHANNELS,), "eps": (1e-5, 1e-2), "elementwise_affine": FLAG, "bias": FLAG},
    "LayerNorm": {"normalized_shape": (FEATURES, SIZE, (CHANNELS, SIZE, SIZE)), "eps": (1e-5, 1e-2),
                  "elementwise_affine": FLAG, "bias": FLAG},
    "Dropout": {"p": (0.5, 0.0, 1.0), **INPLACE},
    "Flatten": {"start_dim": (1, 2, -3), "end_dim": (-1, 2, 3)},
    "Identity": {},
    "Linear": {"in_features": (FEATURES,), "out_features": (3, 7), "bias": FLAG},
    "ZeroPad2d": {"padding": (1, (1, 2, 0, 3), (-1, 0, 0, 0))},
    "ReLU": INPLACE, "SELU": INPLACE, "SiLU": INPLACE, "Tanh": {}, "Sigmoid": {},
    "LeakyReLU": {"negative_slope": (0.01, 0.3, 0.0, -0.5, 1.5), **INPLACE},
    "ELU": {"alpha": (1.0, 0.3, 0.0, -1.0), **INPLACE},
    "GELU": {"approximate": ("none", "tanh")},
    "Softplus": {"beta": (1.0, 5.0), "threshold": (20.0, 40.0, 1.0)},
    "Softmax": {"dim": (1, -1, 0)},
}  # fmt: skip
FLAT = ("LayerNorm", "Linear")  # behind a flatten

TRAINING = {
    "regularizer": (None, "l2", keras.regularizers.L1(1e-3)), "constraint": (None, "non_neg"),
}  # fmt: skip


def _training(*arrays):
    return {f"{array}_{option}": values for array in arrays for option, values in TRAINING.items()}


KERAS_CONVOLUTION = {
    "kernel_size": (3, *PAIR), "strides": (1, 2), "padding": ("valid", "same"), "use_bias": FLAG,
    "data_format": (None, "channels_last", "channels_first"), "dilation_rate": (1, 2),
    "activation": (None, "relu", "gelu"),
    "trainable": FLAG, "activity_regularizer": (None, "l2"),
}  # fmt: skip
KERAS_POOL = {
    "pool_size": (2, *PAIR), "strides": (None, *PAIR), "padding": ("valid", "same"),
    "data_format": (None, "channels_last"),
}  # fmt: skip
AFFINE = {"epsilon": (1e-3, 1e-1), "center": FLAG, "scale": FLAG, **_training("gamma", "beta")}
IN_KERAS = {
    "Conv2D": {"filters": (4, 8), "groups": (1, 2), **KERAS_CONVOLUTION, **_training("kernel", "bias")},
    "DepthwiseConv2D": {"depth_multiplier": (1, 2), **KERAS_CONVOLUTION, **_training("depthwise", "bias")},
    "SeparableConv2D": {
        "filters": (4, 8), "depth_multiplier": (1, 2), **KERAS_CONVOLUTION,
        **_training("depthwise", "pointwise", "bias"),
    },
    "MaxPooling2D": KERAS_POOL,
    "AveragePooling2D": KERAS_POOL,
    "GlobalMaxPooling2D": {"keepdims": FLAG[::-1]},
    "GlobalAveragePooling2D": {"keepdims": FLAG[::-1]},
    "ZeroPadding2D": {"padding": (1, (1, 2), ((1, 0), (2, 1)))},
    "BatchNormalization": {
        "axis": (-1, 3, 1, 2), "momentum": (0.99, 0.5, 0.0, 1.0), "trainable": FLAG, "renorm": FLAG[::-1],
        "moving_mean_initializer": ("zeros", "ones"), **AFFINE,
    },
    "LayerNormalization": {"axis": (-1, 3, 1, (1, 2, 3)), "rms_scaling": FLAG[::-1], **AFFINE},
    "Dropout": {"rate": (0.5, 0.0, 1.0), "noise_shape": (None, (None, 1, 1, 4)), "seed": (None, 7)},
    "Flatten": {"data_format": (None, "channels_first")},
    "Dense": {"units": (3, 7), "use_bias": FLAG, "activation": (None, "tanh", "relu6", "softmax"),
              "kernel_initializer": ("glorot_uniform", "he_normal"), **_training("kernel", "bias")},
    "Activation": {"activation": ("relu", "elu", "leaky_relu", "hard_silu", "silu", "exponential")},
    "ReLU": {"max_value": (None, 6.0), "negative_slope": (0.0, 0.1), "threshold": (0.0, 0.5)},
    "LeakyReLU": {"negative_slope": (0.3, 0.0, 1.5)},
    "ELU": {"alpha": (1.0, 0.3, 0.0)},
    "Softmax": {"axis": (-1, 1)},
}  # fmt: skip


def draw(rng, options):
    """An argument for each option: the usual one two times in three."""
    return {name: values[0] if rng.random() < 2 / 3 else rng.choice(values) for name, values in options.items()}


def describe(model, arguments, usual):
    """The network; None if the model is refused by the name of an option that is not its usual one."""
    try:
        return read_network(model)
    except UserError as refusal:
        message = str(refusal)
        assert "\n" not in message
        unusual = [name for name, value in arguments.items() if value != usual[name][0]]
        assert any(name in message for name in unusual), (message, arguments)
        return None


def described(seed, kinds, times, make, images):
    """Yields kind, random options, model and description of each layer that is not refused by an option's name."""
    rng = random.Random(seed)
    for kind in [*kinds] * times:
        tried = 0
        while True:
            arguments = draw(rng, kinds[kind])
            try:
                model = make(kind, arguments)
                model(images)
                break
            except Exception:  # the framework itself refuses the options, or the network
                tried += 1
                assert tried < 1000, kind
        network = describe(model, arguments, kinds[kind])
        if network is not None:
            yield kind, arguments, model, network


def torch_model(kind, arguments):
    layer = LayerNorm2d(**arguments) if kind == "LayerNorm2d" else getattr(nn, kind)(**arguments)
    parts = [nn.Conv2d(1, CHANNELS, 3, padding=1), *[nn.Flatten()] * (kind in FLAT), layer]
    if kind == "Softmax":
        return nn.Sequential(parts[0], nn.Flatten(), nn.Linear(FEATURES, 3), layer)
    parts += [nn.Flatten()] * (kind not in (*FLAT, "Flatten"))
    with torch.no_grad():
        outputs = nn.Sequential(*parts)(torch.randn(2, 1, SIZE, SIZE))
    return nn.Sequential(*parts, nn.Linear(outputs.shape[-1], 3))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
def test_a_module_with_random_options_is_rebuilt_or_refused_by_an_options_name(seed):
    taken = 0
    torch.manual_seed(seed)
    for kind, _, model, network in described(seed, IN_PYTORCH, 5, torch_model, torch.randn(2, 1, SIZE, SIZE)):
        taken += 1
        rebuilt = build_network(network, "native").to(memory_format=torch.contiguous_format)
        with torch.no_grad():
            for ours, theirs in zip(rebuilt.state_dict().values(), model.state_dict().values(), strict=True):
                ours.copy_(theirs)
            images = torch.randn(3, 1, SIZE, SIZE)
            for training in (False, True):
                outputs = []
                for module in (model, rebuilt):
                    torch.manual_seed(1)
                    outputs.append(module.train(training)(images))
                if kind == "Softmax":
                    outputs[1] = outputs[1].softmax(-1)
                torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)
    assert taken > 30


def keras_model(kind, arguments):
    parts = [keras.Input((SIZE, SIZE, 1)), layers.Conv2D(CHANNELS, 3, padding="same")]
    layer = getattr(layers, kind)(**arguments)
    if kind == "Softmax":
        return keras.Sequential([*parts, layers.Flatten(), layers.Dense(3), layer])
    if kind == "Dense":
        return keras.Sequential([*parts, layers.Flatten(), layer, layers.Dense(3)])
    return keras.Sequential([*parts, layer, *[layers.Flatten()] * ("Global" not in kind), layers.Dense(3)])


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
def test_a_keras_layer_with_random_options_is_rebuilt_or_refused_by_an_options_name(seed):
    taken = 0
    generator = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    images = generator.standard_normal((3, SIZE, SIZE, 1)).astype(np.float32)
    for kind, arguments, model, network in described(seed, IN_KERAS, 6, keras_model, images):
        taken += 1
        # In PyTorch: the description is rebuilt by the other framework, from the weights of the original.
        weights = {name: variable.numpy() for name, variable in variables_of(model, network).items()}
        assert weights.keys() == initial_weights(network, "keras", 0).keys()
        rebuilt = build_network(network)
        state = {name: torch.from_numpy(array) for name, array in to_pytorch(weights, network).items()}
        rebuilt.load_state_dict(rebuilt.state_dict() | state)
        tensor = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        for training in (False, True):
            if training and kind == "Dropout" and arguments["rate"]:
                continue  # whose masks differ; test_from_model compares them
            with torch.no_grad():
                found = rebuilt.train(training)(tensor)
            if kind == "Softmax":
                found = found.softmax(-1)
            expected = model(images, training=training).numpy()
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-3, atol=1e-4)
    assert taken > 30
