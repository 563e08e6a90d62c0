"""The Keras twin of ``cnn_mnist``, the proof that they are the same, and the table of both."""
