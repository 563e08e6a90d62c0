"""``python -m cnn_mnist summary``: the layer table, without a framework."""

from jsonargparse import ArgumentParser

from cnn_mnist.architecture.trace import ARCHITECTURES, Order, layer_table, layers_of
from cnn_mnist.console.arguments import OneLineErrors
from cnn_mnist.console.tables import print_table


def build_parser() -> ArgumentParser:
    """The arguments of ``summary``."""
    parser = OneLineErrors(description="Prints each layer's output shape and parameters, without training.")
    parser.add_argument(
        "--model.architecture", default="three_conv", help=f"Name of the network: {' or '.join(ARCHITECTURES)}."
    )
    parser.add_argument(
        "--order", type=Order, default="keras", help="Shapes as height, width, channels or the channels first."
    )
    return parser


def summarize(architecture: str, order: Order) -> None:
    """Prints the layer table of an architecture with the shapes in an order of axes."""
    print_table(layer_table(layers_of(architecture), order), title=architecture)


def main(arguments: list[str]) -> None:
    """Reads the arguments after ``summary`` and prints."""
    config = build_parser().parse_args(arguments)
    summarize(config.model.architecture, config.order)
