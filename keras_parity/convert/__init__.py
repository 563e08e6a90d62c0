"""``python -m keras_parity convert``: weights from one file format to another.

Imports both frameworks; ``gap`` may import it.
"""
