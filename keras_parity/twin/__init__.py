"""The network, its data and its training in Keras; files have the same names as in ``cnn_mnist.pytorch``.

Core: imports Keras and TensorFlow, never PyTorch, and no extra; ``ladder``, ``convert`` and ``predict`` may import it.
"""
