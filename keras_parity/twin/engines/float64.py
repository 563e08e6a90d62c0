"""Float64 where Keras would take float32."""

from collections.abc import Iterator
from contextlib import contextmanager

from keras.src.backend.common import dtypes


@contextmanager
def float64_kept() -> Iterator[None]:
    """Makes operations of float64 give float64 inside the context.

    On JAX and PyTorch, Keras 3.15 takes every result's dtype from a table that turns float64 into float32, so that a
    dense layer of a float64 policy computes in float32. Nothing public changes that table.
    """
    narrowed = dtypes.BIT64_TO_BIT32_DTYPE
    before = narrowed["float64"]
    narrowed["float64"] = "float64"
    try:
        yield
    finally:
        narrowed["float64"] = before
