"""Imports PyTorch and TensorFlow into one process, in the only order that does not crash it.

Above both first floors: imported first by the converter and the ladder, and by nothing else.
"""

import contextlib
import os

from cnn_mnist.allocator import keep_large_buffers

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

keep_large_buffers()

# TensorFlow imported before triton is a segmentation fault, and PyTorch imports triton sooner or later.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401
import torch  # noqa: E402, F401

from keras_parity.quiet import without_banner  # noqa: E402

with without_banner():
    import tensorflow  # noqa: F401
