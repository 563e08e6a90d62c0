"""``python -m cnn_mnist``: arguments in, a call out."""

import sys

from cnn_mnist import timing  # noqa: F401 - first, since the set-up time counts from its import
from cnn_mnist.arguments import names_files
from cnn_mnist.errors import one_line_errors
from cnn_mnist.importing import collector_at_rest, importing_lightning


def main() -> None:
    """Runs the command that the arguments name; ``summary`` needs no framework and imports none."""
    with one_line_errors("python -m cnn_mnist"):
        if sys.argv[1:2] == ["summary"]:
            from cnn_mnist import summary

            summary.main(sys.argv[2:])
        elif sys.argv[1:2] == ["predict"] and names_files(sys.argv[2:]):
            with collector_at_rest():
                from cnn_mnist import predict

            predict.main(sys.argv[2:])
        else:
            with importing_lightning():
                from cnn_mnist import cli

            cli.main()


if __name__ == "__main__":
    main()
