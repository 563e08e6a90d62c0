"""Keeps glibc from giving large buffers back to the kernel at every step.

Ground floor: the standard library only; both command lines call it before they import their framework.
"""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_large_buffers() -> None:
    """Raises glibc's thresholds for returning memory to 1 GiB; does nothing where there is no glibc.

    By default every activation buffer over 128 KiB is mapped anew, and its pages faulted in again, at every
    step: half of a training step on a CPU.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, 2**30)
        mallopt(_M_MMAP_THRESHOLD, 2**30)
