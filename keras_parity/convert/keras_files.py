"""Reads and writes ``.keras`` and ``.weights.h5``, safely."""

from collections import defaultdict
from functools import partial
from pathlib import Path

import keras
import numpy as np

from cnn_mnist.architecture.descriptions import plain, read_network
from cnn_mnist.architecture.network import Network
from cnn_mnist.errors import UserError, as_user_error, told_of
from cnn_mnist.settings import ModelSettings
from keras_parity.convert.portable import Arrays, Logits, Portable, choose_network, renamed_weights
from keras_parity.twin.checkpoints import check_h5, read_model
from keras_parity.twin.dtypes import copy_in, in_dtype
from keras_parity.twin.engines import ENGINE
from keras_parity.twin.losses import cross_entropy
from keras_parity.twin.network import build_twin, load_weights, mask_states, variables_of
from keras_parity.twin.optimizers import make_optimizer, settings_of
from keras_parity.twin.predict import logits_of


def read_keras(path: Path, network: Network | None = None) -> tuple[Portable, Logits]:
    """Reads a ``.keras`` file, with its optimizer if it has one; see ``portable.Read``."""
    model = read_model(path)
    with told_of(f"{path}: "), ENGINE.float64():  # the description is checked on the model, which may be of float64
        network = choose_network(path, read_network(model), network)
    variables = variables_of(model, network)
    weights, described = _widened(_arrays(variables)), plain(network)
    notes = (renamed_weights({name: variable.path for name, variable in variables.items()}),)
    try:
        settings = ModelSettings(architecture=described, **settings_of(model, path))
    except UserError as error:
        portable = Portable(weights, ModelSettings(architecture=described), untold=str(error), notes=notes)
    else:
        slots = {slot: _widened(_arrays(arrays)) for slot, arrays in _slots(model, network).items()}
        portable = Portable(weights, settings, slots, int(model.optimizer.iterations), notes=notes)
    return portable, partial(logits_of, copy_in(model, "float64"))


def read_h5(path: Path, network: Network | None = None) -> tuple[Portable, Logits]:
    """Reads a ``.weights.h5`` file, which does not describe its network; see ``portable.Read``."""
    network = choose_network(path, None, network)
    with in_dtype("float32"):  # whatever the user's keras.json says
        model = build_twin(network)
    with as_user_error(f"expected the weights of the network, got {path}"):
        check_h5(path, path)
        model.load_weights(path)
    settings = ModelSettings(architecture=plain(network))
    return Portable(_arrays(variables_of(model, network)), settings), partial(logits_of, copy_in(model, "float64"))


def write_keras(portable: Portable, path: Path) -> None:
    """Writes a ``.keras`` file that ``python -m keras_parity --ckpt_path`` can continue from."""
    make_keras_model(portable).save(path)


def write_h5(portable: Portable, path: Path) -> None:
    """Writes a ``.weights.h5`` file."""
    make_keras_model(portable).save_weights(path)


def make_keras_model(portable: Portable) -> keras.Sequential:
    """Builds the compiled model with its weights and its optimizer's slots, in the dtype of the weights."""
    with in_dtype(portable.dtype):
        model = build_twin(portable.network, portable.settings.seed)
        load_weights(model, portable.weights)
        metrics = [keras.metrics.SparseCategoricalAccuracy(name="acc")]
        model.compile(make_optimizer(portable.settings), loss=cross_entropy(), metrics=metrics, jit_compile=False)
        model.optimizer.build(model.trainable_variables)
        model.optimizer.iterations.assign(portable.iterations)
        for state in mask_states(model):
            state.assign([state.numpy()[0], portable.iterations])
        for slot, arrays in (portable.slots or {}).items():
            for name, variable in _slots(model, portable.network)[slot].items():
                variable.assign(arrays[name])
    return model


def _slots(model: keras.Model, network: Network) -> dict[str, dict[str, keras.Variable]]:
    """The optimizer's variables by slot and weight; Keras names them ``<path of the weight>_<slot>``."""
    slots: dict[str, dict[str, keras.Variable]] = defaultdict(dict)
    for name, weight in variables_of(model, network).items():
        for variable in model.optimizer.variables:
            _, found, slot = variable.path.partition(f"/{weight.path.replace('/', '_')}_")
            if found:
                slots[slot][name] = variable
    return slots


def _arrays(variables: dict[str, keras.Variable]) -> Arrays:
    return {name: variable.numpy() for name, variable in variables.items()}


def _widened(arrays: Arrays) -> Arrays:
    """Widens 16-bit arrays to float32; leaves others unchanged."""
    return {name: array.astype(np.float32) if array.itemsize < 4 else array for name, array in arrays.items()}
