"""``python -m keras_parity convert``: weights from one file format to another.

Extra: imports both frameworks; only ``__main__`` and ``__init__`` may import it.
"""
