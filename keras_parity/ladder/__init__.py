"""``python -m keras_parity ladder``: two models side by side, rung by rung.

Imports both frameworks; no other room imports it.
"""
