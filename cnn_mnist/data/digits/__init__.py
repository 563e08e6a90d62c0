"""Converts photos and scans of digits to images like MNIST's.

``files`` reads grey values, ``page`` finds the ink on the paper, ``lines`` removes printed lines, ``pieces`` finds the
digits, ``small`` those of small pictures, ``read`` converts them to MNIST's format.

Extra: only ``__main__`` may import it, and of it ``read``.
"""
