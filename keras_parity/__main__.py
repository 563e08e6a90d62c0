"""``python -m keras_parity``: arguments in, a call out."""

import sys
from importlib import import_module

from cnn_mnist import __version__
from cnn_mnist.errors import UserError, nearest, one_line_errors
from cnn_mnist.runs import timing  # noqa: F401 - first: the set-up time counts from its import

COMMANDS = {
    "compare": "print one table of the frameworks' runs",
    "convert": "convert weights from one framework to the other",
    "ladder": "prove that both compute the same, or name the first difference",
    "predict": "predict your own digits, or the test set",
    "study": "train the frameworks with many seeds, and compare them",
}

_ELSEWHERE = {
    **dict.fromkeys(
        ("fit", "train"), "python -m cnn_mnist fit trains in PyTorch, python -m keras_parity without a command in Keras"
    ),
    **{name: f"python -m cnn_mnist {name} does that" for name in ("validate", "test", "summary")},
}
"""What to say to a command of ``cnn_mnist``."""


def main() -> None:
    """Runs the command that the arguments name; trains the twin if they name none."""
    with one_line_errors("python -m keras_parity"):
        arguments = sys.argv[1:]
        if arguments[:1] == ["--version"]:
            print(f"keras_parity {__version__}")
        elif not arguments or arguments[0].startswith("-"):
            from keras_parity.twin import cli

            cli.main(arguments, COMMANDS)
        elif (command := arguments[0]) == "predict":
            from cnn_mnist.data.digits.read import read_digits
            from keras_parity.predict import cli as predict

            predict.main(arguments[1:], read_digits)
        elif command in COMMANDS:
            import_module(f"keras_parity.{command}.cli").main(arguments[1:])
        else:
            meant = f"; {_ELSEWHERE[command]}" if command in _ELSEWHERE else nearest(command, COMMANDS)
            raise UserError(f"expected a command of {', '.join(COMMANDS)}, got {command}{meant}")


if __name__ == "__main__":
    main()
