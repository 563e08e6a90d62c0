"""One CNN on MNIST: what both frameworks share, and its PyTorch Lightning side.

The names of ``__all__`` are imported when they are first used, so that ``import cnn_mnist`` imports no framework.
"""

from typing import TYPE_CHECKING

from cnn_mnist.frameworks import exports

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
__getattr__, __dir__ = exports(__name__, _WHERE)
