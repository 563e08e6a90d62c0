"""What stands around the import of TensorFlow: its settings before, and silence meanwhile."""

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

SETTINGS = {
    "KERAS_BACKEND": BACKEND,
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # TensorFlow's own default on a CPU with VNNI or AMX; on one with AVX2 alone a step takes 1.5 times as long without.
    "TF_ENABLE_ONEDNN_OPTS": "1",
}


@contextmanager
def importing_tensorflow() -> Iterator[None]:
    """Sets what TensorFlow and Keras read at their import, where the user has not, and drops what they print.

    It comes from C++ and goes to stderr; no log level reaches all of it.

    Raises:
        UserError: The user has Keras, which takes 1 backend a process, compute with another than TensorFlow.
    """
    keras = sys.modules.get("keras")
    chosen = keras.config.backend() if keras else os.environ.get("KERAS_BACKEND", BACKEND)
    if chosen != BACKEND:
        raise UserError(
            f"expected Keras on {BACKEND}, got Keras on {chosen}; set KERAS_BACKEND={BACKEND} before Keras is imported"
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
    """What TensorFlow, in a process of its own, says about GPUs while it looks for them; empty where it says nothing.

    It says at its import that it finds no drivers, and at the first look for GPUs which libraries it cannot load.
    """
    look = [sys.executable, "-c", "import tensorflow; tensorflow.config.list_physical_devices('GPU')"]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "0"}
    said = subprocess.run(look, env=environment, capture_output=True, text=True, check=False).stderr
    lines = [line.partition("] ")[2] for line in said.splitlines() if "GPU" in line or "cuInit" in line]
    return "; ".join(dict.fromkeys(filter(None, lines)))


class _KeepTritonOut(MetaPathFinder):
    """Has ``import triton`` fail wherever TensorFlow was imported before it.

    Imported after TensorFlow it crashes the process, and PyTorch imports it sooner or later: any optimizer does.
    PyTorch does without it as on a machine that has none. Neither package documents a setting that keeps it out.
    """

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Finds nothing; where TensorFlow is about to come first, triton counts as missing from now on."""
        if name == "tensorflow":
            keep_triton_out()


def keep_triton_out() -> None:
    """Has triton, which would crash, count as missing; call it where TensorFlow is imported, or is about to be."""
    if "triton" not in sys.modules:
        sys.modules["triton"] = None  # type: ignore[assignment]


def expect_any_order() -> None:
    """Keeps PyTorch and TensorFlow from crashing one process, whichever comes first, before or after this call."""
    if "tensorflow" in sys.modules:
        keep_triton_out()
    elif not any(isinstance(finder, _KeepTritonOut) for finder in sys.meta_path):
        sys.meta_path.insert(0, _KeepTritonOut())
