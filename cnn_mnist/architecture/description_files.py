"""Reads descriptions of networks from files, without running code in them and without a framework."""

import io
import json
import pickle
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from cnn_mnist.errors import UserError, as_user_error, in_one_line
from cnn_mnist.untrusted import LARGEST_TEXT, pickle_is_small, read_text, zip_fits
from cnn_mnist.yaml_files import load_yaml

ARCHITECTURE = "architecture"
"""Key of the description in the metadata of a ``.safetensors`` file and among the settings of a ``.ckpt``."""


def read_yaml(path: Path) -> Any:
    """Reads a YAML or JSON file."""
    import yaml

    try:
        return load_yaml(read_text(path))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"expected YAML, got {in_one_line(error)}") from None


def read_keras(path: Path) -> Any:
    """Reads Keras's configuration of the model in a ``.keras`` file."""
    config = _member(path, "config.json")
    try:
        return json.loads(config)
    except (ValueError, RecursionError):
        raise UserError("expected Keras's configuration in it, got a damaged one") from None


def read_safetensors(path: Path) -> Any:
    """Reads the description in the metadata of a ``.safetensors`` file."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            metadata = json.loads(file.read(min(length, LARGEST_TEXT))).get("__metadata__") or {}
            text = metadata[ARCHITECTURE]
        except (ValueError, KeyError, AttributeError, TypeError):
            raise UserError("expected a description of the network in its metadata, got none") from None
    try:
        return json.loads(text)
    except ValueError:
        return text  # a name


def read_ckpt(path: Path) -> Any:
    """Reads the description in the settings of a Lightning checkpoint."""
    pickled = _member(path, "/data.pkl")
    if not pickle_is_small(pickled):
        raise UserError("expected the settings of a cnn_mnist run in it, got a damaged or hostile pickle")
    try:
        return _Reader(io.BytesIO(pickled)).load()["hyper_parameters"][ARCHITECTURE]
    except Exception:  # each kind of damage raises another
        raise UserError("expected the settings of a cnn_mnist run in it, got none") from None


def _member(path: Path, ending: str) -> bytes:
    """Reads the only file with this ending in a zip archive."""
    damaged = as_user_error("expected a whole file, got a damaged one", reason=partial(in_one_line, most=80))
    with damaged, ZipFile(path) as archive:
        (name,) = (name for name in archive.namelist() if f"/{name}".endswith(f"/{ending.lstrip('/')}"))
        if not zip_fits(archive, path):
            raise UserError("expected a file that holds what it declares, got one that unpacks to far more")
        return archive.read(name)


class _Reader(pickle.Unpickler):
    """Reads a pickle's own dicts, lists, strings and numbers; whatever else is in it becomes an empty object."""

    def find_class(self, module: str, name: str) -> Any:
        """Nothing is imported and nothing is called."""
        return Inert

    def persistent_load(self, pid: Any) -> Any:
        """Skips the storage of a tensor."""
        return None


class Inert(dict):
    """Takes whatever a pickle does to an object."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass
