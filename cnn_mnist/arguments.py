"""How both command lines read arguments: one line on stderr for a mistake.

Ground floor, with jsonargparse: imported by the command lines.
"""

import sys
from typing import NoReturn

from jsonargparse import ArgumentParser


class OneLineErrors(ArgumentParser):
    """A jsonargparse parser that says a mistake in one line, without the usage, and exits with 2."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the message on one line and exits with 2."""
        program = self.prog.replace(" [options]", "").replace("__main__.py", "python -m cnn_mnist")
        print(f"{program}: error: {' '.join(message.split())} (see --help)", file=sys.stderr)
        raise SystemExit(2)
