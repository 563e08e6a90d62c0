"""The Keras twin of ``cnn_mnist``, the proof that they are the same, and the table of both.

The names of ``__all__`` are imported when they are first used, so that ``import keras_parity`` imports no framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_parity.compare.report import to_markdown as to_markdown
    from keras_parity.compare.table import make_tables as make_tables
    from keras_parity.convert.cli import convert as convert_weights
    from keras_parity.ladder.cli import Port as Port
    from keras_parity.ladder.cli import climb as climb
    from keras_parity.logs.run import find_folders as find_folders
    from keras_parity.logs.run import read_run as read_run
    from keras_parity.twin.network import build_twin as build_twin
    from keras_parity.twin.train import compile_twin as compile_twin

_KERAS = ("build_twin", "compile_twin")
_WHERE = {
    "Port": "ladder.cli:Port",
    "build_twin": "twin.network:build_twin",
    "climb": "ladder.cli:climb",
    "compile_twin": "twin.train:compile_twin",
    "convert_weights": "convert.cli:convert",
    "find_folders": "logs.run:find_folders",
    "make_tables": "compare.table:make_tables",
    "read_run": "logs.run:read_run",
    "to_markdown": "compare.report:to_markdown",
}
__all__ = [
    "Port",
    "build_twin",
    "climb",
    "compile_twin",
    "convert_weights",
    "find_folders",
    "make_tables",
    "read_run",
    "to_markdown",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _WHERE[name].partition(":")
    if name in _KERAS:
        from keras_parity.frameworks import importing_tensorflow

        with importing_tensorflow():
            return getattr(import_module(f"{__name__}.{module}"), attribute)
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
