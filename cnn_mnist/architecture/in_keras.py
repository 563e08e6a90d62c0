"""What each layer record is in Keras: the layer of its name, with its fields as arguments."""

from collections.abc import Iterator
from dataclasses import fields

from cnn_mnist.architecture import layers as records
from cnn_mnist.architecture.call import Call, source_of
from cnn_mnist.architecture.trace import Network, TracedLayer


def keras_layers(network: Network) -> list[Call]:
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


def _calls(place: TracedLayer) -> Iterator[Call]:
    layer = place.layer
    if isinstance(layer, records.Activation):
        relu = layer.activation == "relu"
        yield Call(place.name, "ReLU", {}) if relu else Call(place.name, "Activation", {"activation": layer.activation})
        return
    arguments = {field.name: getattr(layer, field.name) for field in fields(layer) if field.name != "activation"}
    padding = arguments.get("padding")
    if isinstance(padding, tuple) and not isinstance(layer, records.ZeroPadding2D):
        yield Call(f"{place.name}_pad", "ZeroPadding2D", {"padding": padding})
        arguments["padding"] = "valid"
    yield Call(place.name, type(layer).__name__, arguments)
