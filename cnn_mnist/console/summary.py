"""``python -m cnn_mnist summary``: prints the layer table or the network as source, without a framework."""

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
    """Builds the parser of ``summary``."""
    purpose = "Prints each layer's output shape, parameters and multiply-adds per image."
    parser = OneLineErrors(prog="python -m cnn_mnist summary", description=purpose)
    parser.add_argument("network", nargs="?", type=str, help="Same as --model.architecture.")
    parser.add_some(ModelSettings, "model", "architecture")
    order = "Axes of shapes: channels last (keras) or first (pytorch)."
    parser.add_argument("--order", type=Order, default="keras", help=order)
    parser.add_argument("--code", choices=[*_SOURCES], default=None, help="Print the network as source code instead.")
    parser.add_switch("--list", help="List the packaged networks instead.")
    return parser


def summarize(network: Network, order: Order) -> None:
    """Prints the layer table.

    Args:
        network: The network.
        order: Order of the axes in shapes: channels last ("keras") or first ("pytorch").
    """
    print_table(layer_table(network, order), title=title(plain(network)))


def main(arguments: list[str]) -> None:
    """Runs ``summary``.

    Args:
        arguments: The arguments after the command.

    Raises:
        UserError: The network cannot be read.
    """
    config = build_parser().parse_args(arguments)
    network = ModelSettings(architecture=config.network or config.model.architecture).network
    if config.list:
        rows = [(name, str(len(known.layers)), f"{known.parameters:,}") for name, known in EXAMPLES.items()]
        print_table([("architecture", "layers", "parameters"), *rows])
    elif config.code:
        print(_SOURCES[config.code](network))
    else:
        summarize(network, config.order)
