"""Imports PyTorch and TensorFlow into one process, in the only order that does not crash it."""

import contextlib

from cnn_mnist.frameworks import collector_at_rest, keep_large_buffers

keep_large_buffers()

with collector_at_rest():
    # TensorFlow imported before triton is a segmentation fault, and PyTorch imports triton sooner or later.
    with contextlib.suppress(ImportError):
        import triton  # noqa: F401
    import torch  # noqa: F401

from keras_parity.frameworks import importing_tensorflow  # noqa: E402

with importing_tensorflow():
    import tensorflow  # noqa: F401
