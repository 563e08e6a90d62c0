"""Builds and copies Keras models in a chosen dtype."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import keras

from keras_parity.twin.engines import ENGINE
from keras_parity.twin.network import share_masks


@contextmanager
def in_dtype(policy: str) -> Iterator[None]:
    """Makes Keras build and compute by a dtype policy inside the context, and restores its settings.

    Args:
        policy: For example ``"float32"``, ``"float64"`` or ``"mixed_bfloat16"``.
    """
    floatx, before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx("float64" if policy == "float64" else "float32")
    keras.config.set_dtype_policy(policy)  # floatx alone does nothing once a policy is cached
    try:
        with ENGINE.float64() if policy == "float64" else nullcontext():
            yield
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(before)


def copy_in(model: keras.Model, dtype: str, probe: Any = None) -> keras.Model:
    """Copies a model, with its weights and without what ``compile`` gave it, into another dtype.

    Args:
        model: Any built model; a subclassed model is rebuilt from its configuration.
        dtype: ``"float32"`` or ``"float64"``.
        probe: An input for a subclassed model, which creates its weights when it is called.

    Returns:
        The copy.
    """
    with in_dtype(dtype):
        if _is_graph(model):
            read = model.inputs if isinstance(model, keras.Sequential) else model.input
            inputs = keras.tree.map_structure(partial(_input_in, dtype=dtype), read)
            clone = partial(_layer_in, dtype=dtype)
            compiled, model.compiled = model.compiled, False  # the copy has no training: it may not be serializable
            try:
                copy = keras.models.clone_model(model, inputs, clone_function=clone)
            finally:
                model.compiled = compiled
        else:
            try:
                copy = type(model).from_config(model.get_config())
            except TypeError:  # the constructor takes neither name nor dtype
                copy = type(model)()
            copy(probe)
            for copied, original in zip(copy._flatten_layers(), model._flatten_layers(), strict=True):
                copied.trainable = original.trainable
        copy.set_weights(model.get_weights())
        for copied, original in zip(copy.weights, model.weights, strict=True):
            copied.trainable = original.trainable  # a single one may be frozen
    return copy


def _is_graph(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.Sequential) or (isinstance(layer, keras.Model) and hasattr(layer, "operations"))


def _input_in(tensor: keras.KerasTensor, dtype: str) -> keras.KerasTensor:
    own = dtype if "float" in tensor.dtype else tensor.dtype
    return keras.Input(batch_shape=tensor.shape, name=tensor.name, dtype=own)


def _layer_in(layer: keras.Layer, dtype: str) -> keras.Layer:
    if isinstance(layer, keras.layers.Lambda):
        return keras.layers.Lambda(layer.function, layer._output_shape, layer.mask, layer.arguments,
            name=layer.name, dtype=dtype)  # fmt: skip
    if _is_graph(layer):
        return copy_in(layer, dtype)  # its own inputs would cast to float32 again
    config = _config_in(layer.get_config(), dtype)
    if callable(getattr(layer, "activation", None)) and "activation" in config:
        config["activation"] = layer.activation
    copy = type(layer).from_config(config | {"dtype": dtype} if "dtype" in config else config)
    if "call" in vars(layer) and not layer.weights:
        copy.call = layer.call  # replaced by the user
    if hasattr(layer, "mask_seed"):
        share_masks(copy, layer.mask_seed)
    return copy


def _config_in(config: Any, dtype: str) -> Any:
    """Changes the dtypes of floats in a layer's configuration, and in those of the layers that it holds."""
    if isinstance(config, dict):
        is_float = {name: name == "dtype" and "float" in str(value) for name, value in config.items()}
        return {name: dtype if is_float[name] else _config_in(value, dtype) for name, value in config.items()}
    return [_config_in(value, dtype) for value in config] if isinstance(config, list) else config
