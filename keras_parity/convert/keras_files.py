"""Reads and writes ``.keras`` and ``.weights.h5``, safely."""

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.layers import Layer
from cnn_mnist.data.splits import EVALUATION_BATCH_SIZE
from cnn_mnist.errors import UserError
from cnn_mnist.settings import ModelSettings
from keras_parity.convert.portable import Arrays, Logits, Portable, choose_layers
from keras_parity.twin.checkpoints import read_model
from keras_parity.twin.dtypes import copy_in, in_dtype
from keras_parity.twin.network import build_twin, load_weights, name_of, read_weights
from keras_parity.twin.optimizers import make_optimizer, settings_of


def read_keras(path: Path, layers: Sequence[Layer] | None = None) -> tuple[Portable, Logits]:
    """Reads a ``.keras`` file, with its optimizer where it has one; ``layers`` where it names no architecture."""
    model = read_model(path)
    layers = choose_layers(path, model.name, layers)
    name, weights = name_of(layers), _widened(read_weights(model))
    expected = read_weights(build_twin(layers))
    if {n: array.shape for n, array in weights.items()} != {n: array.shape for n, array in expected.items()}:
        raise UserError(f"expected the weights of {name or 'the layers'}, got {path}, which has others")
    named: dict[str, Any] = {"architecture": name} if name else {}
    try:
        settings = ModelSettings(**named, **settings_of(model, path))
    except UserError as error:
        portable = Portable(layers, weights, ModelSettings(**named), untold=str(error))
    else:
        slots = {slot: _widened(_arrays(variables)) for slot, variables in _slots(model).items()}
        portable = Portable(layers, weights, settings, slots, int(model.optimizer.iterations))
    return portable, partial(_logits, copy_in(model, portable.dtype))


def read_h5(path: Path, layers: Sequence[Layer] | None = None) -> tuple[Portable, Logits]:
    """Reads a ``.weights.h5`` file of the network of ``layers``."""
    layers = choose_layers(path, None, layers)
    model, name = build_twin(layers), name_of(layers)
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"expected the weights of {name or 'the layers'}, got {path} ({reason})") from None
    settings = ModelSettings(architecture=name) if name else ModelSettings()
    return Portable(layers, read_weights(model), settings), partial(_logits, model)


def write_keras(portable: Portable, path: Path) -> None:
    """Writes a ``.keras`` file that ``python -m keras_parity --ckpt_path`` goes on from."""
    make_keras_model(portable).save(path)


def write_h5(portable: Portable, path: Path) -> None:
    """Writes a ``.weights.h5`` file."""
    make_keras_model(portable).save_weights(path)


def make_keras_model(portable: Portable) -> keras.Sequential:
    """The compiled model with its weights and its optimizer's slots, in the dtype of the weights."""
    with in_dtype(portable.dtype):
        model = build_twin(portable.layers)
        load_weights(model, portable.weights)
        model.compile(
            make_optimizer(portable.settings),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")],
            jit_compile=False,
        )
        model.optimizer.build(model.trainable_variables)
    model.optimizer.iterations.assign(portable.iterations)
    for slot, arrays in (portable.slots or {}).items():
        for name, variable in _slots(model)[slot].items():
            variable.assign(arrays[name])
    return model


def _slots(model: keras.Model) -> dict[str, dict[str, keras.Variable]]:
    """The optimizer's variables by slot and weight; Keras names each ``<path of the weight>_<slot>``."""
    slots: dict[str, dict[str, keras.Variable]] = defaultdict(dict)
    for layer in model.layers:
        for weight in layer.trainable_variables:
            start = f"{weight.path.replace('/', '_')}_"
            for variable in model.optimizer.variables:
                _, found, slot = variable.path.partition(f"/{start}")
                if found:
                    slots[slot][f"{layer.name}/{weight.name}"] = variable
    return slots


def _arrays(variables: dict[str, keras.Variable]) -> Arrays:
    return {name: variable.numpy() for name, variable in variables.items()}


def _widened(arrays: Arrays) -> Arrays:
    """Arrays of 16 bits as float32, others as they are."""
    return {name: array.astype(np.float32) if array.itemsize < 4 else array for name, array in arrays.items()}


def _logits(model: keras.Model, images: NDArray[np.float32]) -> NDArray:
    return model.predict(images[..., None].astype(model.inputs[0].dtype), batch_size=EVALUATION_BATCH_SIZE, verbose=0)
