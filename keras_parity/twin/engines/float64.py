"""Float64 where Keras would take float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from keras.src import backend, ops
from keras.src.backend.common import dtypes


@contextmanager
def float64_kept() -> Iterator[None]:
    """Makes Keras compute in float64 inside the context as it does on TensorFlow.

    On JAX and PyTorch, Keras 3.15 takes every result's dtype from a table that turns float64 into float32, so that a
    dense layer of a float64 policy computes in float32. Only Keras on TensorFlow casts constants, such as Adam's
    beta_2, or a leaky ReLU's slope, through float32, as in a float32 step; the bias correction differs by 1.3e-5
    otherwise, and an activation by 1e-8. Nothing public changes either.
    """
    narrowed, own_cast = dtypes.BIT64_TO_BIT32_DTYPE, backend.core.cast
    before, own_leaky_relu, own_gelu = narrowed["float64"], backend.nn.leaky_relu, backend.nn.gelu

    def cast(x: Any, dtype: Any) -> Any:
        return own_cast(float(np.float32(x)) if type(x) is float and dtype == "float64" else x, dtype)

    def leaky_relu(x: Any, negative_slope: float = 0.2) -> Any:
        return own_leaky_relu(x, float(np.float32(negative_slope)))

    def gelu(x: Any, approximate: bool = True) -> Any:
        if backend.standardize_dtype(x.dtype) != "float64":
            return own_gelu(x, approximate)
        if not approximate:
            return 0.5 * x * (1 + ops.erf(x * float(np.float32(np.sqrt(0.5)))))
        return 0.5 * x * (1 + ops.tanh(np.sqrt(2 / np.pi) * (x + float(np.float32(0.044715)) * x**3)))

    narrowed["float64"], backend.core.cast = "float64", cast
    backend.nn.leaky_relu, backend.nn.gelu = leaky_relu, gelu
    try:
        yield
    finally:
        narrowed["float64"], backend.core.cast = before, own_cast
        backend.nn.leaky_relu, backend.nn.gelu = own_leaky_relu, own_gelu
