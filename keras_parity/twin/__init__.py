"""The network, its data and its training in Keras; the files bear the names of ``cnn_mnist.pytorch``.

Core: imports Keras and TensorFlow, never PyTorch, and no extra; ``ladder``, ``convert`` and ``predict`` may import it.
"""
