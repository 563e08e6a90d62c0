"""The one kind of error a user can mend, and how a command line ends on it.

Ground floor: imports nothing of the project; everyone may import it.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """A mistake the user can mend; its one line says what was expected, what came and what to do."""


@contextmanager
def one_line_errors(program: str) -> Iterator[None]:
    """Ends the process with ``program: error: ...`` on stderr and exit code 1 on a ``UserError``.

    Args:
        program: What the user typed, for example ``"python -m cnn_mnist"``.
    """
    try:
        yield
    except UserError as error:
        sys.exit(f"{program}: error: {error}")
