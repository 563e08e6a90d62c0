"""Imports PyTorch and TensorFlow into one process, in the only order that does not crash it.

Above both first floors: imported first by the converter and the ladder, and by nothing else.
"""

import contextlib
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# TensorFlow imported before triton is a segmentation fault, and PyTorch imports triton sooner or later.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401
import torch  # noqa: F401

from keras_parity.quiet import without_banner

with without_banner():
    import tensorflow  # noqa: F401
