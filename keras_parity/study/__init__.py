"""``python -m keras_parity study``: many seeds, each run in a process of its own.

Imports no framework; no other room imports it.
"""
