"""``python -m keras_parity compare``: runs in, tables out.

Imports no framework; ``study`` may import it.
"""
