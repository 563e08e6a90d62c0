"""Reads a ``.keras`` file of this project, safely, and goes on from it; writes one."""

import json
import math
import warnings
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import keras

from cnn_mnist.architecture.descriptions import read_network, title
from cnn_mnist.errors import UserError
from cnn_mnist.runs.files import atomic_write, zip_is_intact
from cnn_mnist.schedules import check_resumed_rate
from cnn_mnist.settings import ModelSettings
from keras_parity.twin.network import load_weights, mask_states, read_weights
from keras_parity.twin.optimizers import settings_of

_STATE = "run.json"
"""What a checkpoint holds beside Keras's own members, which pass it over."""


def save(path: Path, state: dict[str, Any], model: keras.Model, optimizer: keras.Optimizer, loss: Any) -> None:
    """Writes a checkpoint that stock Keras loads, whole or not at all.

    Args:
        path: Where.
        state: What the run goes on with beside weights and optimizer.
        model: As it is trained; it may have a loss and a schedule that no file can tell.
        optimizer: A new one like the model's, which takes its state and is written in its place.
        loss: Likewise.
    """
    written = keras.Sequential([keras.Input(model.input_shape[1:]), *model.layers], name=model.name)
    written.compile(optimizer, loss=loss)
    with atomic_write(path) as aside:
        written.save(aside)
        with ZipFile(aside, "a") as archive:
            archive.writestr(_STATE, json.dumps(state))


def _check_size(path: str | Path) -> None:
    """Raises ``UserError`` where a file has not the weights that it describes, before Keras takes memory for them."""
    try:
        parameters = read_network(str(path)).parameters
    except UserError:  # no chain of layers that have records
        return
    with ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist() if member.filename == "model.weights.h5")
    if 2 * size < parameters:  # a quantized one may take half a byte each
        raise UserError(
            f"expected a .keras file, got {path}, which cannot be loaded safely ({size:,} bytes of weights for "
            f"{parameters:,} parameters)"
        )


def read_state(path: str | Path) -> dict[str, Any] | None:
    """The state that ``save`` has written; None for another file."""
    with ZipFile(path) as archive:
        return json.loads(archive.read(_STATE)) if _STATE in archive.namelist() else None


def read_model(path: str | Path) -> keras.Model:
    """Loads a sequential model without running code from the file.

    Raises:
        UserError: There is no such file, it is truncated, or it holds no model that can be loaded safely.
    """
    if not Path(path).is_file():
        raise UserError(f"expected a .keras file, got {path}, which is no file")
    if not zip_is_intact(path):
        raise UserError(f"expected a .keras file, got {path}, which cannot be loaded safely (it is damaged)")
    _check_size(path)
    try:
        with warnings.catch_warnings():  # of a compiled model that was never trained
            warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
            model = keras.saving.load_model(path, safe_mode=True)
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"expected a .keras file, got {path}, which cannot be loaded safely ({reason})") from None
    return model


def restore(model: keras.Model, path: str, settings: ModelSettings, steps: int, own: bool = False) -> tuple[int, int]:
    """Copies weights and optimizer state into a compiled model.

    Args:
        model: The model, compiled with ``settings``.
        path: The ``.keras`` file.
        settings: What the user asks for; the file's own must be the same.
        steps: Optimizer updates in an epoch.
        own: Whether the file is of the very run that goes on, whose settings are kept beside it.

    Returns:
        The epoch that goes on, and how many of its batches are done.

    Raises:
        UserError: The file cannot be loaded, is of another network or other settings, or has a schedule over
            another number of updates.
    """
    saved = read_model(path)
    if read_network(path) != settings.network:
        raise UserError(
            f"--ckpt_path: expected the weights of {title(settings.architecture)}, got {path}, which has others"
        )
    load_weights(model, read_weights(saved, settings.network))
    kept = {} if own else settings_of(saved, path)
    if not int(saved.optimizer.iterations):  # before the first update there are no settings to go on with
        return 0, 0
    for name, asked in asdict(settings).items():
        value = kept.get(name, asked)  # what this optimizer does not know is of no matter
        if value != asked and not (isinstance(asked, float) and math.isclose(value, asked, rel_tol=1e-6)):
            raise UserError(
                f"--model.{name}: {path} was trained with {value}, got {asked}; give its own to go on with it"
            )
    for state in mask_states(model):  # which no file of Keras's holds; a step takes one mask of each
        state.assign([state.numpy()[0], int(saved.optimizer.iterations)])
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(model.optimizer.variables, saved.optimizer.variables, strict=True):
        variable.assign(value)
    check_resumed_rate(settings, float(saved.optimizer.learning_rate), float(model.optimizer.learning_rate))
    return divmod(int(model.optimizer.iterations.numpy()), steps)
