"""``python -m cnn_mnist``: runs the command that the arguments name."""

import sys

from cnn_mnist import __version__
from cnn_mnist.console.commands import COMMANDS
from cnn_mnist.errors import UserError, nearest, one_line_errors
from cnn_mnist.frameworks import gc_paused, importing_lightning
from cnn_mnist.runs import timing  # noqa: F401 - imported first: the set-up time starts here


def main() -> None:
    """Runs a command; without one, or with ``--help``, lists the commands without importing a framework."""
    command, *args = sys.argv[1:] or ["--help"]
    with one_line_errors("python -m cnn_mnist"):
        if command in ("--help", "-h"):
            print("usage: python -m cnn_mnist COMMAND [flags]\n\ncommands, each with its --help:")
            print("\n".join(f"  {name:10}{purpose}" for name, purpose in COMMANDS.items()))
        elif command == "--version":
            print(f"cnn_mnist {__version__}")
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
