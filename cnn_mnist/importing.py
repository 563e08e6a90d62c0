"""What stands around the import of a framework: the collector at rest, and nothing that a command does not use.

Ground floor: the standard library only; ``__main__`` and ``keras_parity.importing`` enter it before their framework.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Has Python look for no garbage meanwhile, and never again at what was imported.

    A framework's import makes a million objects that stay; the looks at them, during the import and at the
    process's exit, are a third of importing Lightning and a quarter of importing Keras and TensorFlow.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class _Deferred(ModuleType):
    """Stands for ``scipy.signal`` until something reads more of it than torchmetrics does."""

    hamming = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        sys.modules.pop(self.__name__, None)
        return getattr(import_module(self.__name__), name)


@contextmanager
def importing_lightning() -> Iterator[None]:
    """As ``collector_at_rest``, and without ``scipy.signal``.

    torchmetrics imports it only to give it an old name, ``hamming``, back for other packages: a second, and 60 MB.
    """
    name = "scipy.signal"
    sys.modules.setdefault(name, _Deferred(name))
    with collector_at_rest():
        try:
            yield
        finally:
            if isinstance(sys.modules.get(name), _Deferred):
                del sys.modules[name]
