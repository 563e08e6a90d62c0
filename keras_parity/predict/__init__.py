"""``python -m keras_parity predict [IMAGE...]``: your own digits, or the test set, in Keras, in PyTorch or in both.

Extra: imports each framework only for a network of its own; only ``__main__`` may import it.
"""
