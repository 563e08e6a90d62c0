"""Keras in a dtype that is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import keras


@contextmanager
def in_dtype(dtype: str) -> Iterator[None]:
    """Has Keras build in ``dtype`` meanwhile, and puts its settings back.

    Args:
        dtype: ``"float32"`` or ``"float64"``.
    """
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def copy_in(model: keras.Model, dtype: str) -> keras.Model:
    """A copy of a Sequential or functional model, with its weights, that computes in ``dtype``."""
    read = model.inputs if isinstance(model, keras.Sequential) else model.input
    with in_dtype(dtype):
        inputs = keras.tree.map_structure(lambda t: keras.Input(batch_shape=t.shape, name=t.name), read)
        copy = keras.models.clone_model(model, inputs, clone_function=partial(_layer_in, dtype=dtype), recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def _layer_in(layer: keras.Layer, dtype: str) -> keras.Layer:
    config = layer.get_config()
    return type(layer).from_config(config | {"dtype": dtype} if "dtype" in config else config)
