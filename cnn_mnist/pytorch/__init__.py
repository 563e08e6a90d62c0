"""The network, its data and its training in PyTorch Lightning, and its commands: fit, validate, test, predict.

Imports every other room of ``cnn_mnist``; ``keras_parity.ladder`` and ``keras_parity.convert`` may import it.
"""
