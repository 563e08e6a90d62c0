"""Checks that a PyTorch and a Keras model are the same, trains the Keras twin of ``cnn_mnist``, and compares both.

``__init__.pyi`` lists the exports. Each is imported on first use, so ``import keras_parity`` imports no framework.
"""

from contextlib import nullcontext
from typing import Any

import lazy_loader

from cnn_mnist import __version__ as __version__
from keras_parity.frameworks import expect_any_order, importing_keras

expect_any_order()
_import_export, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    with importing_keras() if name.endswith("_twin") else nullcontext():
        return _import_export(name)
