"""Keras's layers for a network: the class of the same name with the same arguments."""

from collections.abc import Iterator
from dataclasses import fields

from cnn_mnist.architecture import layers as records
from cnn_mnist.architecture.module_spec import ModuleSpec, source_of
from cnn_mnist.architecture.network import Network, PlacedLayer


def keras_layers(network: Network) -> list[ModuleSpec]:
    """Returns Keras's layers in order, with the names of ``Network.modules``.

    Keras's convolutions have no explicit padding, so a ``conv1_pad`` comes before them.
    """
    return [spec for place in network.modules for spec in _specs(place)]


def keras_source(network: Network) -> str:
    """Returns the network as Keras source code."""
    lines = [f"    layers.{source_of(spec, name=spec.name)}," for spec in keras_layers(network)]
    # Keras has no name for the tanh approximation.
    tanh = "lambda x: keras.activations.gelu(x, approximate=True)"
    lines = [line.replace("'gelu_tanh'", tanh) for line in lines]
    start = ["import keras", "from keras import layers", "", "model = keras.Sequential(["]
    return "\n".join([*start, f"    keras.Input({network.input_shape}),", *lines, "])"])


def _specs(place: PlacedLayer) -> Iterator[ModuleSpec]:
    layer = place.layer
    if isinstance(layer, records.Activation):
        relu = layer.activation == "relu"
        kind, arguments = ("ReLU", {}) if relu else ("Activation", {"activation": layer.activation})
        yield ModuleSpec(place.name, kind, arguments)
        return
    arguments = {field.name: getattr(layer, field.name) for field in fields(layer) if field.name != "activation"}
    padding = arguments.get("padding")
    if isinstance(padding, tuple) and not isinstance(layer, records.ZeroPadding2D):
        yield ModuleSpec(f"{place.name}_pad", "ZeroPadding2D", {"padding": padding})
        arguments["padding"] = "valid"
    yield ModuleSpec(place.name, type(layer).__name__, arguments)
