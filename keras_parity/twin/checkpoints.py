"""Writes checkpoints as ``.keras`` files, reads them safely, and restores them."""

import json
import math
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import h5py
import keras

from cnn_mnist.architecture.descriptions import read_network, title
from cnn_mnist.errors import UserError, as_user_error, expect
from cnn_mnist.runs.files import atomic_write, zip_is_intact
from cnn_mnist.schedules import check_resumed_rate
from cnn_mnist.settings import ModelSettings
from cnn_mnist.untrusted import fits
from keras_parity.twin.engines import ENGINE
from keras_parity.twin.network import load_weights, mask_states, read_weights
from keras_parity.twin.optimizers import settings_of

_WEIGHTS, _STATE = "model.weights.h5", "run.json"
"""The state of the run inside a checkpoint; Keras ignores it."""


def save(path: Path, state: dict[str, Any], model: keras.Model, optimizer: keras.Optimizer, loss: Any) -> None:
    """Writes a checkpoint that stock Keras loads, atomically.

    Args:
        path: The ``.keras`` file to write.
        state: What a resume needs besides weights and optimizer.
        model: The model in training; Keras may not be able to save its loss and schedule.
        optimizer: The optimizer to save instead of the model's, with its state.
        loss: The loss to save instead of the model's.

    Raises:
        OSError: The file cannot be written.
    """
    written = keras.Sequential([keras.Input(model.input_shape[1:]), *model.layers], name=model.name)
    written.compile(optimizer, loss=loss)
    with atomic_write(path) as aside:
        written.save(aside)
        with ZipFile(aside, "a") as archive:
            archive.writestr(_STATE, json.dumps(state))


def _check_size(path: str | Path) -> None:
    """Raises an error if a file describes more weights than it holds, before Keras allocates memory for them."""
    parameters = read_network(str(path)).parameters
    with ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist() if member.filename == _WEIGHTS)
        with archive.open(_WEIGHTS) as weights:
            check_h5(path, weights)
    if 2 * size < parameters:  # a quantized weight may take half a byte
        raise ValueError(f"{size:,} bytes of weights for {parameters:,} parameters")


def check_h5(path: str | Path, weights: Any) -> None:
    """Raises ``UserError`` if an HDF5 file declares larger arrays than it holds; reading one allocates them.

    Args:
        path: The file, for the message and its size.
        weights: The HDF5 file or its path.
    """
    sizes = list[int]()
    with h5py.File(weights) as file:
        file.visititems(lambda _, item: sizes.append(item.nbytes) if isinstance(item, h5py.Dataset) else None)
    if not fits(sum(sizes), path):
        raise UserError(f"expected weights, got {path}, which declares {sum(sizes):,} bytes and does not hold them")


def read_state(path: str | Path) -> dict[str, Any] | None:
    """The state that ``save`` has written; None if the file has none."""
    with ZipFile(path) as archive:
        return json.loads(archive.read(_STATE)) if _STATE in archive.namelist() else None


def read_model(path: str | Path) -> keras.Model:
    """Loads a model without running code from the file.

    Args:
        path: A ``.keras`` file.

    Raises:
        UserError: There is no such file, it is damaged, or its model cannot be loaded safely.
    """
    expected = f"expected a .keras file, got {path}, which"
    if not Path(path).is_file():
        raise UserError(f"{expected} is no file")
    with as_user_error(f"{expected} cannot be loaded safely"):
        if not zip_is_intact(path):
            raise ValueError("it is damaged")
        _check_size(path)
        with warnings.catch_warnings(), ENGINE.float64():
            # For a compiled model that was never trained.
            warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
            return keras.saving.load_model(path, safe_mode=True)


def restore(model: keras.Model, path: str, settings: ModelSettings, steps: int, own: bool = False) -> tuple[int, int]:
    """Copies weights and optimizer state into a compiled model.

    Args:
        model: The model, compiled with ``settings``.
        path: The ``.keras`` file.
        settings: The settings of this training; those in the file must be equal.
        steps: Optimizer updates in an epoch.
        own: Whether the file belongs to the run that is resumed, whose settings are saved in its folder.

    Returns:
        The epoch to continue in, and the number of its batches that are done.

    Raises:
        UserError: The file cannot be loaded, has another network or other settings, or its schedule spans another
            number of updates.
    """
    saved = read_model(path)
    wanted = f"the weights of {title(settings.architecture)}"
    expect("--ckpt_path", read_network(path) == settings.network, wanted, f"{path} with another network")
    load_weights(model, read_weights(saved, settings.network))
    kept = {} if own else settings_of(saved, path)
    if not int(saved.optimizer.iterations):  # without an update, there is nothing to continue
        return 0, 0
    for name, asked in asdict(settings).items():
        value = kept.get(name, asked)  # settings that this optimizer does not use may differ
        if value != asked and not (isinstance(asked, float) and math.isclose(value, asked, rel_tol=1e-6)):
            came = f"{asked}; use the same value to continue it"
            raise UserError(f"--model.{name}: {path} was trained with {value}, got {came}")
    for state in mask_states(model):  # not saved by Keras; each step draws one mask per dropout
        state.assign([state.numpy()[0], int(saved.optimizer.iterations)])
    for variable, value in zip(model.optimizer.variables, saved.optimizer.variables, strict=True):
        variable.assign(value)
    check_resumed_rate(settings, float(saved.optimizer.learning_rate), float(model.optimizer.learning_rate))
    return divmod(int(model.optimizer.iterations.numpy()), steps)
