"""``python -m keras_parity predict [IMAGE...]``: your own digits, or the test set, in Keras, in PyTorch or in both.

Extra: imports a framework only for its own networks; only ``__main__`` may import it.
"""
