"""``python -m keras_parity convert``: weights from one file format to another.

Imports both frameworks; no other room imports it.
"""
