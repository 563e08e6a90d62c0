"""The user's own digits: picture files to images like MNIST's.

``files`` gives grey values, ``page`` the ink on the paper, ``lines`` takes printed lines out, ``pieces`` tells what is
a digit, ``read`` makes MNIST's image of it.

Extra: only ``__main__`` may import it, and of it ``read``.
"""
