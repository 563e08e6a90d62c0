"""Builds the Keras network of a description, and reads and loads its weights."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras
from numpy.typing import NDArray

from cnn_mnist.architecture.descriptions import plain
from cnn_mnist.architecture.in_keras import keras_layers
from cnn_mnist.architecture.module_spec import ModuleSpec, number_of
from cnn_mnist.architecture.network import Network
from cnn_mnist.errors import UserError
from cnn_mnist.random_streams import dropout_mask
from keras_parity.twin.engines import ENGINE


def build_twin(network: Network, seed: int = 0) -> keras.Sequential:
    """Builds the network; its layers have the names of ``Network.modules``.

    Args:
        network: The description.
        seed: Seed of the dropout masks.

    Returns:
        A model from images [batch, height, width, channels] to logits [batch, classes], with Keras's own initial
        weights, and with the name of the network if it has one.
    """
    name = plain(network)
    layers = [_make(call, seed) for call in keras_layers(network)]
    # all at once: each ``add`` would trace the whole network again
    return keras.Sequential([keras.Input(network.input_shape), *layers], name=name if isinstance(name, str) else None)


def load_weights(model: keras.Model, weights: Mapping[str, NDArray]) -> None:
    """Copies weights into a model, in place.

    Args:
        model: A model that ``build_twin`` made.
        weights: Arrays by neutral name, see ``cnn_mnist.architecture.initial_weights``.
    """
    for name, array in weights.items():
        layer, variable = name.split("/")
        getattr(model.get_layer(layer), variable).assign(array)


def variables_of(model: keras.Model, network: Network) -> dict[str, keras.Variable]:
    """Finds a model's weights and statistics by the order of its layers, whatever their names.

    Args:
        model: Any Keras model of the network.
        network: The description.

    Returns:
        The variables by neutral name, such as ``"conv1/kernel"``.

    Raises:
        UserError: The weights of a layer are not those of the description.
    """
    layers = [layer for layer in model.layers if layer.weights]
    named: dict[str, keras.Variable] = {}
    for traced, layer in zip([traced for traced in network.placed if traced.weight_shapes], layers, strict=True):
        variables = {variable.name: variable for variable in layer.weights}
        for name, shape in traced.weight_shapes.items():
            if name not in variables or variables[name].shape != shape:
                found = ", ".join(f"{variable.name} {tuple(variable.shape)}" for variable in layer.weights)
                raise UserError(f"expected {traced.name}/{name} {shape} in {layer.name}, got {found}")
            named[f"{traced.name}/{name}"] = variables[name]
    return named


def read_weights(model: keras.Model, network: Network) -> dict[str, NDArray]:
    """Reads a model's weights and statistics.

    Args:
        model: Any Keras model of the network.
        network: The description.

    Returns:
        Arrays by neutral name, in the neutral layout, which is Keras's own.

    Raises:
        UserError: The weights of a layer are not those of the description.
    """
    return {name: variable.numpy() for name, variable in variables_of(model, network).items()}


def mask_states(model: keras.Model) -> list[keras.Variable]:
    """The state of each dropout, (its number, training steps done), which its masks depend on."""
    return [layer.seed_generator.state for layer in model.layers if getattr(layer, "seed_generator", None)]


@keras.saving.register_keras_serializable(package="keras_parity")
def gelu_tanh(x: Any) -> Any:
    """Gelu's tanh approximation, which has no name in Keras."""
    return keras.activations.gelu(x, approximate=True)


def _make(call: ModuleSpec, seed: int) -> keras.Layer:
    kind, arguments = getattr(keras.layers, call.kind), dict(call.arguments)
    if "data_format" in inspect.signature(kind).parameters:
        arguments["data_format"] = "channels_last"  # whatever the user's keras.json says
    if arguments.get("activation") == gelu_tanh.__name__:
        arguments["activation"] = gelu_tanh
    if call.kind != "Dropout":
        layer = kind(**arguments, name=call.name)
        ENGINE.tune(layer)
        return layer
    dropout = keras.layers.Dropout(**arguments, seed=number_of(call.name), name=call.name)
    if dropout.rate > 0:
        share_masks(dropout, seed)
    return dropout


def share_masks(dropout: keras.layers.Dropout, seed: int) -> None:
    """Makes a dropout draw the same masks as the PyTorch network; saved files hold a stock Keras dropout.

    The state of its seed generator is (its seed, steps done), so that a restored dropout continues.

    Args:
        dropout: A dropout with a rate over 0; its own seed is its number in the network.
        seed: The seed of the run, which the dropout keeps as ``mask_seed``.
    """
    rate, generator, dropout.mask_seed = dropout.rate, dropout.seed_generator, seed

    def mask(state: NDArray, shape: tuple[int, ...]) -> NDArray:
        return dropout_mask(shape, rate, seed, int(state[0]), int(state[1]))

    def call(inputs: Any, training: bool = False) -> Any:
        if not training:
            return inputs
        kept = keras.ops.cast(ENGINE.draw(mask, generator.next(), inputs), inputs.dtype)
        return inputs * kept / (1 - rate)

    dropout.call = call
