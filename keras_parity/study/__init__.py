"""``python -m keras_parity study``: many seeds, each run in a process of its own.

Extra: imports no framework; only ``__main__`` may import it.
"""
