"""Prepares the import of TensorFlow: sets its environment variables, and drops what it prints."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import Any

from cnn_mnist.errors import UserError
from cnn_mnist.frameworks import gc_paused, raise_malloc_thresholds

BACKEND = "tensorflow"

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
SETTINGS = {
    "KERAS_BACKEND": BACKEND,
    **_QUIET,
    # TensorFlow's own default on a CPU with VNNI or AMX; with only AVX2, a step takes 1.5 times as long without it.
    "TF_ENABLE_ONEDNN_OPTS": "1",
}


@contextmanager
def importing_tensorflow() -> Iterator[None]:
    """Sets the environment variables that TensorFlow and Keras read, unless the user has, and drops their output.

    C++ code writes it to stderr, 6 lines of it whatever the log level.

    Raises:
        UserError: Keras, which takes one backend per process, already uses another one than TensorFlow.
    """
    keras = sys.modules.get("keras")
    chosen = keras.config.backend() if keras else os.environ.get("KERAS_BACKEND", BACKEND)
    if chosen != BACKEND:
        raise UserError(
            f"expected Keras on {BACKEND}, got Keras on {chosen}; set KERAS_BACKEND={BACKEND} before importing Keras"
        )
    raise_malloc_thresholds()
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with gc_paused():
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def gpu_messages() -> str:
    """What TensorFlow prints about GPUs, in a new process; empty if nothing.

    Its import reports missing drivers; its first search for GPUs reports the libraries that it cannot load.

    Returns:
        One line of messages, separated by semicolons.
    """
    search = [sys.executable, "-c", "import tensorflow; tensorflow.config.list_physical_devices('GPU')"]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "0"}
    printed = subprocess.run(search, env=environment, capture_output=True, text=True, check=False).stderr
    lines = [line.partition("] ")[2] for line in printed.splitlines() if "GPU" in line or "cuInit" in line]
    return "; ".join(dict.fromkeys(filter(None, lines)))


class _TensorFlowComes(MetaPathFinder):
    """Makes ``import triton`` fail once TensorFlow is imported, and keeps TensorFlow's log quiet: 20 lines of it.

    Imported after TensorFlow, triton crashes the process, and any PyTorch optimizer imports it. PyTorch works without
    triton, as on a machine that has none. Neither package documents a setting that keeps it out.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Finds nothing; only notices that TensorFlow is about to be imported."""
        if name == "tensorflow":
            keep_triton_out()
            for variable, value in _QUIET.items():
                os.environ.setdefault(variable, value)


def keep_triton_out() -> None:
    """Makes Python treat triton, which would crash, as missing; call it before or after TensorFlow's import."""
    if "triton" not in sys.modules:
        sys.modules["triton"] = None  # type: ignore[assignment]


def expect_any_order() -> None:
    """Lets PyTorch and TensorFlow share a process, whichever is imported first, without a crash."""
    if "tensorflow" in sys.modules:
        keep_triton_out()
    elif not any(isinstance(finder, _TensorFlowComes) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TensorFlowComes())
