"""What a process settles before it imports a framework: its allocator, Python's collector, and TensorBoard's stub."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_large_buffers() -> None:
    """Raises glibc's thresholds for returning memory to 1 GiB; does nothing where there is no glibc.

    By default every activation buffer over 128 KiB is mapped anew, and its pages faulted in again, at every
    step: half of a training step on a CPU.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_TRIM_THRESHOLD, 2**30)
        libc.mallopt(_M_MMAP_THRESHOLD, 2**30)


@contextmanager
def collector_at_rest() -> Iterator[None]:
    """Has Python look for no garbage meanwhile, and never again at what was imported.

    A framework's import makes a million objects that stay; the looks at them, during the import and at the
    process's exit, are a third of importing Lightning and a quarter of importing Keras and TensorFlow.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def keep_tensorflow_out() -> None:
    """Has TensorBoard use its own stub even where TensorFlow is installed; call it before importing TensorBoard.

    TensorBoard takes the stub when a module ``tensorboard.compat.notf`` can be imported, which its wheel does
    not hold. TensorFlow would cost seconds at start-up, and imported beside PyTorch it can crash the process.
    """
    name = "tensorboard.compat.notf"
    sys.modules.setdefault(name, ModuleType(name))
