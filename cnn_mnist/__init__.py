"""One CNN on MNIST: what both frameworks share, and its PyTorch Lightning side.

``__init__.pyi`` lists the exports. Each is imported on first use, so ``import cnn_mnist`` imports no framework.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
