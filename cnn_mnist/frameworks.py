"""Process settings around a framework's import: allocator, waiting threads, garbage collector, TensorBoard's stub."""

import ctypes
import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

WAIT_POLICY = {"GOMP_SPINCOUNT": "10000", "OMP_WAIT_POLICY": "PASSIVE"}
"""Environment variables that OpenMP reads at its start: the first for an idle machine, the second for a busy one."""

PROC = Path("/proc")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def raise_malloc_thresholds() -> None:
    """Raises glibc's thresholds for returning memory to 1 GiB; does nothing without glibc.

    By default glibc maps every activation buffer over 128 KiB again at each step. The page faults take half of a
    training step on a CPU.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_TRIM_THRESHOLD, 2**30)
        libc.mallopt(_M_MMAP_THRESHOLD, 2**30)


def choose_wait_policy() -> None:
    """Sets OpenMP's wait policy for PyTorch's threads, unless the user has set it; call it before PyTorch's import.

    GNU's OpenMP spins for some milliseconds, and a spinning thread occupies a core. With one other busy process, a step
    of ``three_conv`` takes 68 ms, but 27 ms if waiting threads sleep at once. On an idle machine spinning is faster,
    and a short spin is enough: see ``benchmarks/README.md``.
    """
    if not (PROC / "stat").exists() or os.environ.keys() & WAIT_POLICY.keys():
        return
    others = []
    for _ in range(5):
        others.append(_running_elsewhere())
        time.sleep(0.005)
    name = "OMP_WAIT_POLICY" if min(others) > 0 else "GOMP_SPINCOUNT"
    os.environ[name] = WAIT_POLICY[name]


def _running_elsewhere() -> int:
    """Counts the runnable threads of other processes; NumPy's own run for a while after its import."""
    everywhere = (PROC / "stat").read_text().partition("procs_running")[2].split()[0]
    own = 0
    for task in PROC.glob("self/task/*/stat"):
        with suppress(OSError):  # the thread has ended
            own += task.read_text().rpartition(")")[2].split()[0] == "R"
    return int(everywhere) - own


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pauses the garbage collector, then freezes the objects that the import created.

    A framework's import creates a million permanent objects. Scanning them during the import and at exit takes a third
    of importing Lightning and a quarter of importing Keras and TensorFlow.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class _Deferred(ModuleType):
    """Replaces ``scipy.signal`` until its first use beyond torchmetrics'; saves 1.1 s of every start."""

    hamming = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        sys.modules.pop(self.__name__, None)
        return getattr(import_module(self.__name__), name)


@contextmanager
def importing_lightning() -> Iterator[None]:
    """Pauses the garbage collector and defers ``scipy.signal``, for the import of Lightning.

    torchmetrics imports ``scipy.signal`` only to restore an old name, ``hamming``. Without it ``--help`` takes 3.2 s
    instead of 4.3 s (medians of 4 alternating pairs of runs, 2 cores with AVX-512), and 60 MB less memory.
    """
    name = "scipy.signal"
    sys.modules.setdefault(name, _Deferred(name))
    with gc_paused():
        try:
            yield
        finally:
            if isinstance(sys.modules.get(name), _Deferred):
                del sys.modules[name]


def keep_tensorflow_out() -> None:
    """Makes TensorBoard use its stub even if TensorFlow is installed; call it before importing TensorBoard.

    TensorBoard uses the stub if it can import ``tensorboard.compat.notf``, which its wheel does not contain. TensorFlow
    would cost seconds at start-up, and next to PyTorch it can crash the process.
    """
    name = "tensorboard.compat.notf"
    sys.modules.setdefault(name, ModuleType(name))
