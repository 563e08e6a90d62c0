"""What stands around a framework's import: when it comes, allocator, waiting threads, collector, TensorBoard's stub."""

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
"""What OpenMP reads at its start: the first for an idle machine, the second beside other work."""

PROC = Path("/proc")

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def raise_malloc_thresholds() -> None:
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


def choose_wait_policy() -> None:
    """Says how PyTorch's OpenMP threads wait for one another, unless the user has; call it before PyTorch's import.

    GNU's OpenMP spins for some milliseconds, in which a waiting thread keeps a core from whoever has work: beside one
    process that counts, a step of ``three_conv`` takes 68 ms, and 27 where waiting threads sleep at once. On an idle
    machine it is the spin that is faster, and a short one is enough: see ``benchmarks/README.md``.
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
    """Runnable threads of the whole machine, without this process's: NumPy's run for a while after its import."""
    everywhere = (PROC / "stat").read_text().partition("procs_running")[2].split()[0]
    own = 0
    for task in PROC.glob("self/task/*/stat"):
        with suppress(OSError):  # a thread that has ended meanwhile
            own += task.read_text().rpartition(")")[2].split()[0] == "R"
    return int(everywhere) - own


@contextmanager
def gc_paused() -> Iterator[None]:
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


class _Deferred(ModuleType):
    """Stands for ``scipy.signal`` until something reads more of it than torchmetrics does: 1.1 s of every start."""

    hamming = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        sys.modules.pop(self.__name__, None)
        return getattr(import_module(self.__name__), name)


@contextmanager
def importing_lightning() -> Iterator[None]:
    """As ``gc_paused``, and without ``scipy.signal``.

    torchmetrics imports it only to give it an old name, ``hamming``, back for other packages. Without it ``--help``
    takes 3.2 s in place of 4.3 (medians of 4 pairs in turns, 2 cores with AVX-512), and 60 MB less.
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
    """Has TensorBoard use its own stub even where TensorFlow is installed; call it before importing TensorBoard.

    TensorBoard takes the stub when a module ``tensorboard.compat.notf`` can be imported, which its wheel does
    not hold. TensorFlow would cost seconds at start-up, and imported beside PyTorch it can crash the process.
    """
    name = "tensorboard.compat.notf"
    sys.modules.setdefault(name, ModuleType(name))
