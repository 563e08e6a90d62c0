"""``python -m keras_parity``: arguments in, a call out."""

import sys
from importlib import import_module

from cnn_mnist import timing  # noqa: F401 - first, since the set-up time counts from its import
from cnn_mnist.errors import one_line_errors

COMMANDS = ("compare", "convert", "ladder", "predict", "study")


def main() -> None:
    """Runs the command that the arguments name; without one, trains the twin."""
    with one_line_errors("python -m keras_parity"):
        arguments = sys.argv[1:]
        if arguments and arguments[0] in COMMANDS:
            command = import_module(f"keras_parity.{arguments.pop(0)}")
        else:
            command = import_module("keras_parity.cli")
        command.main(arguments)


if __name__ == "__main__":
    main()
