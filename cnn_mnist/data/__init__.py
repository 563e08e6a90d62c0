"""Which images, in which order: MNIST, its splits, and the user's own digits, as uint8 arrays.

Imports numpy and no framework; every room but ``architecture`` may import it.
"""
