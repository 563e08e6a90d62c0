"""Reads a ``.keras`` file of this project, safely, and goes on from it."""

import math
import warnings
import zlib
from dataclasses import asdict
from pathlib import Path
from zipfile import BadZipFile

import keras

from cnn_mnist.architecture.descriptions import read_network, title
from cnn_mnist.errors import UserError
from cnn_mnist.runs.folder import KERAS, find_checkpoint
from cnn_mnist.schedules import check_resumed_rate
from cnn_mnist.settings import ModelSettings
from keras_parity.twin.network import load_weights, mask_states, read_weights
from keras_parity.twin.optimizers import settings_of


def read_model(path: str | Path) -> keras.Model:
    """Loads a sequential model without running code from the file.

    Raises:
        UserError: There is no such file, it is truncated, or it holds no model that can be loaded safely.
    """
    if not Path(path).is_file():
        raise UserError(f"expected a .keras file, got {path}, which is no file")
    try:
        with warnings.catch_warnings():  # of a compiled model that was never trained
            warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
            model = keras.saving.load_model(path, safe_mode=True)
    except (OSError, ValueError, KeyError, TypeError, BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"expected a .keras file, got {path}, which cannot be loaded safely ({reason})") from None
    return model


def restore(model: keras.Model, path: str, settings: ModelSettings, steps: int) -> int:
    """Copies weights and optimizer state into a compiled model.

    Args:
        model: The model, compiled with ``settings``.
        path: The ``.keras`` file, or the run folder that holds it.
        settings: What the user asks for; the file's own must be the same.
        steps: Optimizer updates in an epoch.

    Returns:
        The epoch that comes next.

    Raises:
        UserError: The file cannot be loaded, is of another network or other settings, has a schedule over another
            number of updates, or stands inside an epoch.
    """
    path = str(find_checkpoint(path, KERAS))
    saved = read_model(path)
    if read_network(path) != settings.network:
        raise UserError(
            f"--ckpt_path: expected the weights of {title(settings.architecture)}, got {path}, which has others"
        )
    kept = settings_of(saved, path)
    for name, asked in asdict(settings).items():
        value = kept.get(name, asked)  # what this optimizer does not know is of no matter
        if value != asked and not (isinstance(asked, float) and math.isclose(value, asked, rel_tol=1e-6)):
            raise UserError(
                f"--model.{name}: {path} was trained with {value}, got {asked}; give its own to go on with it"
            )
    load_weights(model, read_weights(saved, settings.network))
    for ours, theirs in zip(mask_states(model), mask_states(saved), strict=True):
        ours.assign(theirs)
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(model.optimizer.variables, saved.optimizer.variables, strict=True):
        variable.assign(value)
    check_resumed_rate(settings, float(saved.optimizer.learning_rate), float(model.optimizer.learning_rate))
    epochs, rest = divmod(int(model.optimizer.iterations.numpy()), steps)
    if rest:
        raise UserError(
            f"--ckpt_path: expected the end of an epoch of {steps} updates, got {path} at update {rest} of one; "
            "give the batch size and the validation split that it was trained with"
        )
    return epochs
