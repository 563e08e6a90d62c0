"""``python -m keras_parity predict [IMAGE...]``: your own digits, or the test set, in Keras, in PyTorch or in both.

Imports each framework only for a network of its own; no other room imports it.
"""
