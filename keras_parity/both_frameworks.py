"""Imports PyTorch and TensorFlow into one process, whichever of them is there already, so that it does not crash."""

import contextlib

from cnn_mnist.frameworks import choose_wait_policy, collector_at_rest, keep_large_buffers
from keras_parity.frameworks import expect_any_order, importing_tensorflow

choose_wait_policy()
keep_large_buffers()
expect_any_order()

with collector_at_rest():
    # Where TensorFlow is not there yet, triton comes before it: see keep_triton_out.
    with contextlib.suppress(ImportError):
        import triton  # noqa: F401
    import torch  # noqa: F401

with importing_tensorflow():
    import tensorflow  # noqa: F401
