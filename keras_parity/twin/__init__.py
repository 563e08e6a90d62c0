"""The network, its data and its training in Keras; the files bear the names of ``cnn_mnist.pytorch``.

Imports Keras and TensorFlow, never PyTorch; ``ladder``, ``convert`` and ``predict`` may import it.
"""
