"""Which images, in which order: MNIST and other data sets, splits, augmentation, and the user's own digits, in numpy.

Imports numpy and no framework; every room but ``architecture`` may import it.
"""
