"""``python -m cnn_mnist summary``: the layer table, or the network as source, without a framework."""

from collections.abc import Callable

from cnn_mnist.architecture.descriptions import plain, title
from cnn_mnist.architecture.examples import EXAMPLES
from cnn_mnist.architecture.in_keras import keras_source
from cnn_mnist.architecture.in_pytorch import pytorch_source
from cnn_mnist.architecture.network import Network, Order, layer_table
from cnn_mnist.console.arguments import OneLineErrors
from cnn_mnist.console.tables import print_table
from cnn_mnist.settings import ModelSettings

_SOURCES: dict[str, Callable[[Network], str]] = {"pytorch": pytorch_source, "keras": keras_source}


def build_parser() -> OneLineErrors:
    """The arguments of ``summary``."""
    parser = OneLineErrors(
        description="Prints each layer's output shape, parameters and multiply-adds of one image, without training."
    )
    parser.add_some(ModelSettings, "model", "architecture")
    parser.add_argument(
        "--order", type=Order, default="keras", help="Shapes as height, width, channels or the channels first."
    )
    parser.add_argument(
        "--code", choices=[*_SOURCES], default=None, help="Print the network as source instead, ready to paste."
    )
    parser.add_switch("--list", help="List the packaged networks instead.")
    return parser


def summarize(network: Network, order: Order) -> None:
    """Prints the layer table of a network with the shapes in an order of axes."""
    print_table(layer_table(network, order), title=title(plain(network)))


def main(arguments: list[str]) -> None:
    """Reads the arguments after ``summary`` and prints."""
    config = build_parser().parse_args(arguments)
    network = ModelSettings(architecture=config.model.architecture).network
    if config.list:
        rows = [(name, str(len(known.layers)), f"{known.parameters:,}") for name, known in EXAMPLES.items()]
        print_table([("architecture", "layers", "parameters"), *rows])
    elif config.code:
        print(_SOURCES[config.code](network))
    else:
        summarize(network, config.order)
