"""The Keras twin of ``cnn_mnist``, the proof that they are the same, and the table of both.

The names of ``__all__`` are imported when they are first used, so that ``import keras_parity`` imports no framework.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from cnn_mnist.frameworks import exports
from keras_parity.frameworks import expect_any_order

if TYPE_CHECKING:
    from keras_parity.compare.report import to_markdown as to_markdown
    from keras_parity.compare.table import make_tables as make_tables
    from keras_parity.convert.cli import convert as convert_weights  # noqa: F401 - exported
    from keras_parity.ladder.check import check as check
    from keras_parity.ladder.cli import Port as Port
    from keras_parity.ladder.cli import climb as climb
    from keras_parity.logs.folders import find_folders as find_folders
    from keras_parity.logs.run import read_run as read_run
    from keras_parity.twin.network import build_twin as build_twin
    from keras_parity.twin.train import compile_twin as compile_twin

expect_any_order()

_WHERE = {
    "Port": "ladder.cli:Port",
    "build_twin": "twin.network:build_twin",
    "check": "ladder.check:check",
    "climb": "ladder.cli:climb",
    "compile_twin": "twin.train:compile_twin",
    "convert_weights": "convert.cli:convert",
    "find_folders": "logs.folders:find_folders",
    "make_tables": "compare.table:make_tables",
    "read_run": "logs.run:read_run",
    "to_markdown": "compare.report:to_markdown",
}
__all__ = list(_WHERE)


def _importing(module: str) -> AbstractContextManager[None]:
    from keras_parity.frameworks import importing_tensorflow

    return importing_tensorflow() if module.startswith("twin") else nullcontext()


__getattr__, __dir__ = exports(__name__, _WHERE, _importing)
