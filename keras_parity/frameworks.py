"""Prepares the import of Keras: chooses its backend, sets its environment variables, and drops what it prints."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from typing import Any

from cnn_mnist.errors import UserError
from cnn_mnist.frameworks import choose_wait_policy, gc_paused, keep_tensorflow_out, raise_malloc_thresholds
from cnn_mnist.runs.folder import KERAS, KERAS_JAX, KERAS_TORCH

RUN_NAMES = {"tensorflow": KERAS, "jax": KERAS_JAX, "torch": KERAS_TORCH}
"""The backends of Keras, the default first, and the folder of each one's runs."""

_DEFAULT = next(iter(RUN_NAMES))

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
SETTINGS = {
    "tensorflow": {
        **_QUIET,
        # TensorFlow's own default on a CPU with VNNI or AMX; with only AVX2, a step takes 1.5 times as long without it.
        "TF_ENABLE_ONEDNN_OPTS": "1",
    },
    "jax": {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"},  # else JAX takes three quarters of a GPU's memory
    "torch": {},
}
"""Environment variables that each backend reads when it is imported."""


def chosen_backend(typed: str | None = None) -> str:
    """The backend of Keras: the typed one, else the one in use, else ``KERAS_BACKEND``, else TensorFlow.

    It does not ask Keras unless Keras is imported already, because that import takes 3 seconds.

    Args:
        typed: The value of ``--backend``.

    Raises:
        UserError: There is no such backend, or this process already uses another one.
    """
    keras = sys.modules.get("keras")
    backend = typed or (keras.config.backend() if keras else os.environ.get("KERAS_BACKEND", _DEFAULT))
    if backend not in RUN_NAMES:
        where = "--backend" if typed else "KERAS_BACKEND"
        raise UserError(f"{where}: expected one of {', '.join(RUN_NAMES)}, got {backend}; set one of these")
    if keras and keras.config.backend() != backend:
        came = f"Keras on {keras.config.backend()}; set KERAS_BACKEND={backend} before importing Keras"
        raise UserError(f"expected Keras on {backend}, got {came}")
    return backend


def expect_package(package: str, where: str, instead: str = "", extra: str = "") -> None:
    """Refuses what needs a package that is not installed; imports nothing.

    Args:
        package: The package.
        where: What needs it, such as a flag.
        instead: What may be set instead.
        extra: The extra of this project that installs the package, if it is one.

    Raises:
        UserError: The package is missing.
    """
    if find_spec(package) is None:
        way = f"pip install '.[{extra}]'" if extra else f"pip install {package}"
        way += f", or set {instead}" * bool(instead)
        raise UserError(f"{where}: expected the package {package}, found none; {way}")


@contextmanager
def importing_keras(typed: str | None = None, *, alone: bool = False) -> Iterator[None]:
    """Sets the environment variables that Keras and its backend read, unless the user has, and drops their output.

    TensorFlow's C++ code writes it to stderr, 6 lines of it whatever the log level.

    Args:
        typed: The backend; None for the chosen one.
        alone: Whether this process uses Keras for nothing but the twin; then no other backend is imported.

    Raises:
        UserError: The backend cannot be used, see ``chosen_backend``, or its package is missing.
    """
    backend = chosen_backend(typed)
    others = [f"KERAS_BACKEND={other}" for other in RUN_NAMES if find_spec(other)]
    expect_package(backend, f"Keras on {backend}", " or ".join(others))
    os.environ["KERAS_BACKEND"] = backend
    raise_malloc_thresholds()
    if backend != "tensorflow":
        keep_tensorflow_out()
    if alone:
        for other in {"tensorflow", "jax"} - {backend}:
            keep_out(other)
    if backend == "torch":
        choose_wait_policy()
    for name, value in SETTINGS[backend].items():
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
            keep_out("triton")
            for variable, value in _QUIET.items():
                os.environ.setdefault(variable, value)


def keep_out(package: str) -> None:
    """Makes Python treat a package as missing, unless it is imported already.

    Where TensorFlow is installed, Keras on another backend imports it to save a model, which takes 5 seconds. It
    imports JAX for a callback.
    """
    sys.modules.setdefault(package, None)  # type: ignore[arg-type]


def expect_any_order() -> None:
    """Lets PyTorch and TensorFlow share a process, whichever is imported first, without a crash."""
    if sys.modules.get("tensorflow"):
        keep_out("triton")
    elif find_spec("tensorflow") and not any(isinstance(finder, _TensorFlowComes) for finder in sys.meta_path):
        sys.meta_path.insert(0, _TensorFlowComes())
