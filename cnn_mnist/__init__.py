"""One CNN on MNIST: the parts that both frameworks share, and training in PyTorch Lightning.

``__init__.pyi`` lists the exports. Each is imported on first use, so ``import cnn_mnist`` imports no framework.
"""

from importlib.metadata import version

import lazy_loader

__version__ = version("cnn_mnist")
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
