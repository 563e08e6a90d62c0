"""One CNN on MNIST: what both frameworks share, and its PyTorch Lightning side.

The names of ``__all__`` are imported when they are first used, so that ``import cnn_mnist`` imports no framework.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnn_mnist.architecture.trace import ARCHITECTURES as ARCHITECTURES
    from cnn_mnist.architecture.trace import trace as trace
    from cnn_mnist.data.mnist import load as load_mnist
    from cnn_mnist.pytorch.data_module import MNISTDataModule as MNISTDataModule
    from cnn_mnist.pytorch.module import Classifier as Classifier

_WHERE = {
    "ARCHITECTURES": "architecture.trace:ARCHITECTURES",
    "Classifier": "pytorch.module:Classifier",
    "MNISTDataModule": "pytorch.data_module:MNISTDataModule",
    "load_mnist": "data.mnist:load",
    "trace": "architecture.trace:trace",
}
__all__ = ["ARCHITECTURES", "Classifier", "MNISTDataModule", "load_mnist", "trace"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _WHERE[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
