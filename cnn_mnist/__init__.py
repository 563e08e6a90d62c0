"""One CNN on MNIST: what both frameworks share, and its PyTorch Lightning side.

The names of ``__all__`` are imported when they are first used, so that ``import cnn_mnist`` imports no framework.
"""

from typing import TYPE_CHECKING

from cnn_mnist.frameworks import exports

if TYPE_CHECKING:
    from cnn_mnist.architecture.descriptions import read_network as read_network
    from cnn_mnist.architecture.examples import EXAMPLES as EXAMPLES
    from cnn_mnist.architecture.trace import Network as Network
    from cnn_mnist.data.mnist import load as load_mnist
    from cnn_mnist.pytorch.data_module import MNISTDataModule as MNISTDataModule
    from cnn_mnist.pytorch.module import Classifier as Classifier

_WHERE = {
    "Classifier": "pytorch.module:Classifier",
    "EXAMPLES": "architecture.examples:EXAMPLES",
    "MNISTDataModule": "pytorch.data_module:MNISTDataModule",
    "Network": "architecture.trace:Network",
    "load_mnist": "data.mnist:load",
    "read_network": "architecture.descriptions:read_network",
}
__all__ = ["EXAMPLES", "Classifier", "MNISTDataModule", "Network", "load_mnist", "read_network"]
__getattr__, __dir__ = exports(__name__, _WHERE)
