"""``python -m keras_parity study``: many seeds, each run in a separate process.

Extra: imports no framework; only ``__main__`` may import it.
"""
