"""MNIST and other data sets: images, their order, splits and augmentation, in numpy.

Core, but for ``digits``: imports no framework and no extra; every room but ``architecture`` may import it.
"""
