"""``python -m cnn_mnist``: arguments in, a call out."""

import sys

from cnn_mnist.errors import UserError, nearest, one_line_errors
from cnn_mnist.frameworks import gc_paused, importing_lightning
from cnn_mnist.runs import timing  # noqa: F401 - first, since the set-up time counts from its import

COMMANDS = {
    "fit": "train the network, and evaluate it on the test set",
    "validate": "evaluate a trained network on the validation split",
    "test": "evaluate a trained network on the test set",
    "predict": "predict the test set, or your own digits",
    "summary": "print the layers with their parameters",
}


def main() -> None:
    """Runs the command that the arguments name; without one, lists the commands, and imports no framework for it."""
    command, *args = sys.argv[1:] or [""]
    with one_line_errors("python -m cnn_mnist"):
        if not command:
            print("usage: python -m cnn_mnist COMMAND [flags]\n\ncommands, each with its --help:")
            print("\n".join(f"  {name:10}{purpose}" for name, purpose in COMMANDS.items()))
        elif not command.startswith("-") and command not in COMMANDS:
            meant = nearest(command, COMMANDS)
            raise UserError(f"expected a command of {', '.join(COMMANDS)}, got {command}{meant}")
        elif command == "summary":
            from cnn_mnist.console import summary

            summary.main(args)
        elif command == "predict":
            with gc_paused():
                from cnn_mnist.data.digits.read import read_digits
                from cnn_mnist.pytorch import predict

            predict.main(args, read_digits)
        else:
            with importing_lightning():
                from cnn_mnist.pytorch import cli

            cli.main([command, *args])


if __name__ == "__main__":
    main()
