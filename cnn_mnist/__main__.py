"""``python -m cnn_mnist``: arguments in, a call out."""

import sys

from cnn_mnist.console.arguments import names_files
from cnn_mnist.errors import one_line_errors
from cnn_mnist.frameworks import collector_at_rest
from cnn_mnist.runs import timing  # noqa: F401 - first, since the set-up time counts from its import


def main() -> None:
    """Runs the command that the arguments name; ``summary`` needs no framework and imports none."""
    with one_line_errors("python -m cnn_mnist"):
        if sys.argv[1:2] == ["summary"]:
            from cnn_mnist.console import summary

            summary.main(sys.argv[2:])
        elif sys.argv[1:2] == ["predict"] and names_files(sys.argv[2:]):
            with collector_at_rest():
                from cnn_mnist.pytorch import predict

            predict.main(sys.argv[2:])
        else:
            with collector_at_rest():
                from cnn_mnist.pytorch import cli

            cli.main()


if __name__ == "__main__":
    main()
