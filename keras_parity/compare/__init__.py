"""``python -m keras_parity compare``: runs in, tables out.

Core: imports no framework and no extra; ``study`` may import it.
"""
