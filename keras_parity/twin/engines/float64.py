"""Float64 where Keras would take float32."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from keras.src import backend
from keras.src.backend.common import dtypes


@contextmanager
def float64_kept() -> Iterator[None]:
    """Makes Keras compute in float64 inside the context as it does on TensorFlow.

    On JAX and PyTorch, Keras 3.15 takes every result's dtype from a table that turns float64 into float32, so that a
    dense layer of a float64 policy computes in float32. And only on TensorFlow it casts constants, such as Adam's
    beta_2, through float32, as in a float32 step; the bias correction differs by 1.3e-5 otherwise. Nothing public
    changes either.
    """
    narrowed, own_cast = dtypes.BIT64_TO_BIT32_DTYPE, backend.core.cast
    before = narrowed["float64"]

    def cast(x: Any, dtype: Any) -> Any:
        return own_cast(float(np.float32(x)) if type(x) is float and dtype == "float64" else x, dtype)

    narrowed["float64"], backend.core.cast = "float64", cast
    try:
        yield
    finally:
        narrowed["float64"], backend.core.cast = before, own_cast
