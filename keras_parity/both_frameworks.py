"""Imports PyTorch and Keras into one process without a crash, even if one is already imported."""

import contextlib

from cnn_mnist.frameworks import choose_wait_policy, gc_paused, raise_malloc_thresholds
from keras_parity.frameworks import expect_any_order, importing_keras

choose_wait_policy()
raise_malloc_thresholds()
expect_any_order()

with gc_paused():
    # triton must precede TensorFlow: see keep_out.
    with contextlib.suppress(ImportError):
        import triton  # noqa: F401
    import torch  # noqa: F401

with importing_keras():
    import keras  # noqa: F401
