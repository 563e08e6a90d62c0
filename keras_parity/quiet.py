"""Silence while TensorFlow is imported.

Above the ground floor, no framework: imported by whatever imports TensorFlow.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_banner() -> Iterator[None]:
    """Drops what TensorFlow's C++ prints on stderr while it is imported; no log level reaches all of it."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
