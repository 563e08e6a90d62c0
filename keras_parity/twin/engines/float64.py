"""Float64 where Keras would take float32."""

from keras.src.backend.common import dtypes


def keep_float64() -> None:
    """Makes operations of float64 give float64.

    On JAX and PyTorch, Keras 3.15 takes every result's dtype from a table that turns float64 into float32, so that a
    dense layer of a float64 policy computes in float32. Nothing public changes that table.
    """
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"
