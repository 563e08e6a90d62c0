"""Runs a user's Python model, and the network that is rebuilt from its description.

The user has already imported the framework to build the model; nothing else here imports one.
"""

from collections.abc import Iterator
from copy import deepcopy
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.in_keras import keras_layers
from cnn_mnist.architecture.in_pytorch import pytorch_modules
from cnn_mnist.architecture.network import Network
from cnn_mnist.errors import UserError, as_user_error

_LIMIT = 1e-3
"""Largest difference, relative to the largest value, of an output or a statistic."""

_LEAST = 1e-6
"""Lower bound of the value to which an array's difference is relative; smaller values are only rounding."""

Run = tuple[bool, list[NDArray], list[NDArray]]
"""Whether in training mode; what the original gives, output first; what the rebuilt network gives."""


def check_rebuilt(model: Any, network: Network) -> Network:
    """Compares a model with the network of its description on random images, in inference and in training mode.

    Args:
        model: A Keras model or a torch ``nn.Sequential``; it is not changed.
        network: The network of its description.

    Returns:
        The network.

    Raises:
        UserError: The model fails, or its results differ from those of the network rebuilt with its weights.
    """
    framework = import_module(type(model).__module__.partition(".")[0])
    images = np.random.default_rng(0).standard_normal((4, *network.input_shape)).astype(np.float32)
    with as_user_error(f"architecture: the model fails on images {images.shape}"):
        runs = list((_in_keras if hasattr(model, "to_json") else _in_pytorch)(framework, model, network, images))
    for training, expected, found in runs:
        softmax = np.exp(found[0] - found[0].max(-1, keepdims=True))  # which a network is without
        outputs = (found[0], softmax / softmax.sum(-1, keepdims=True))
        of_output = min(_difference(expected[0], output) for output in outputs)
        difference = max(of_output, *map(_difference, expected[1:], found[1:]), 0.0)
        if not difference <= _LIMIT:
            mode, shapes = "training" if training else "inference", f"{expected[0].shape} and {found[0].shape}"
            what = f"differs from the network that its layers describe by {difference:.2g} (outputs {shapes})"
            raise UserError(f"architecture: in {mode}, the model {what}; describe it in YAML")
    return network


def _difference(expected: NDArray, found: NDArray) -> float:
    if expected.shape != found.shape:
        return np.inf
    expected, found = expected.astype(np.float64), found.astype(np.float64)
    return float(np.abs(expected - found).max(initial=0) / max(_LEAST, np.abs(expected).max(initial=0)))


def _in_pytorch(torch: Any, model: Any, network: Network, images: NDArray) -> Iterator[Run]:
    original = deepcopy(model).to(memory_format=torch.contiguous_format)  # dropout's masks follow the layout
    known = vars(torch.nn) | {type(module).__name__: type(module) for module in original.modules()}  # torchvision's too
    rebuilt = torch.nn.Sequential(*(known[spec.kind](**spec.arguments) for spec in pytorch_modules(network)))
    state = list(original.state_dict().values())
    like = next((tensor for tensor in state if tensor.is_floating_point()), torch.zeros(()))
    rebuilt.to(like)
    for ours, theirs in zip(rebuilt.state_dict().values(), state, strict=True):
        ours.copy_(theirs)
    inputs = torch.from_numpy(np.moveaxis(images, -1, 1).copy()).to(like)
    for training in (False, True):
        found = []
        for module in (original, rebuilt):
            with torch.random.fork_rng(), torch.no_grad():
                torch.manual_seed(0)  # both drop the same elements
                outputs = [module.train(training)(inputs.clone()), *module.state_dict().values()]
            found.append([tensor.double().cpu().numpy() for tensor in outputs])
        yield training, found[0], found[1]


def _in_keras(keras: Any, model: Any, network: Network, images: NDArray) -> Iterator[Run]:
    original = model if model.built else type(model).from_config(model.get_config())
    policy = original.layers[-1].dtype_policy
    usual = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_last")  # a user's keras.json may say otherwise
    try:
        layers = [keras.Input(network.input_shape)]
        for spec in keras_layers(network):
            tanh = spec.arguments.get("activation") == "gelu_tanh"  # which Keras has no name for
            more = {"activation": partial(keras.activations.gelu, approximate=True)} if tanh else {}
            layers.append(getattr(keras.layers, spec.kind)(**spec.arguments | more, dtype=policy))
        rebuilt = keras.Sequential(layers)
    finally:
        keras.config.set_image_data_format(usual)
    original(images)
    kept = list(zip(original.variables, _arrays(keras, original.variables), strict=True))
    weighted = [[layer for layer in net.layers if layer.weights] for net in (original, rebuilt)]
    for theirs, ours in zip(*weighted, strict=True):
        ours.set_weights(_arrays(keras, theirs.weights))
    random = [[layer for layer in net.layers if getattr(layer, "seed_generator", None)] for net in (original, rebuilt)]
    for theirs, ours in zip(*random, strict=True):  # both drop the same elements
        ours.seed_generator.state.assign(*_arrays(keras, [theirs.seed_generator.state]))
    try:
        for training in (False, True):
            found = []
            for net in (original, rebuilt):
                outputs = keras.tree.flatten(net(images, training=training))
                found.append([*map(keras.ops.convert_to_numpy, outputs), *_arrays(keras, net.weights)])
            yield training, found[0], found[1]
    finally:
        for variable, value in kept:
            variable.assign(value)


def _arrays(keras: Any, variables: list[Any]) -> list[NDArray]:
    """Copies the values of Keras variables."""
    return [keras.ops.convert_to_numpy(keras.ops.copy(variable)) for variable in variables]
