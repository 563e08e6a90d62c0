"""What each layer record is in Keras: the layer of its name, with its fields as arguments."""

from collections.abc import Iterator
from dataclasses import fields

from cnn_mnist.architecture import layers as records
from cnn_mnist.architecture.module_spec import ModuleSpec, source_of
from cnn_mnist.architecture.network import Network, PlacedLayer


def keras_layers(network: Network) -> list[ModuleSpec]:
    """The layers of a network in their order, named as ``Network.modules`` names them.

    Keras's convolutions pad no explicit number of rows, so that a ``conv1_pad`` does it.
    """
    return [call for place in network.modules for call in _calls(place)]


def keras_source(network: Network) -> str:
    """The network as a user would write it, ready to paste."""
    lines = [f"    layers.{source_of(call, name=call.name)}," for call in keras_layers(network)]
    # Keras has no name for it.
    tanh = "lambda x: keras.activations.gelu(x, approximate=True)"
    lines = [line.replace("'gelu_tanh'", tanh) for line in lines]
    start = ["import keras", "from keras import layers", "", "model = keras.Sequential(["]
    return "\n".join([*start, f"    keras.Input({network.input_shape}),", *lines, "])"])


def _calls(place: PlacedLayer) -> Iterator[ModuleSpec]:
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
