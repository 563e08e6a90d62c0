"""``python -m keras_parity``: arguments in, a call out."""

import sys

from cnn_mnist import timing  # noqa: F401 - first, since the set-up time counts from its import
from cnn_mnist.errors import one_line_errors


def main() -> None:
    """Runs the command that the arguments name; without one, trains the twin."""
    with one_line_errors("python -m keras_parity"):
        if sys.argv[1:2] == ["compare"]:
            from keras_parity import compare

            compare.main(sys.argv[2:])
        else:
            from keras_parity import cli

            cli.main(sys.argv[1:])


if __name__ == "__main__":
    main()
