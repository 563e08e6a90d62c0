"""Reads descriptions of networks from files, without running code in them and without a framework."""

import io
import json
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from cnn_mnist.architecture.layers import ALIASES, KINDS
from cnn_mnist.errors import UserError
from cnn_mnist.yaml_files import load_yaml

ARCHITECTURE = "architecture"
"""Key of the description in the metadata of a ``.safetensors`` file and among the settings of a ``.ckpt``."""

GELU_TANH = "keras_parity>gelu_tanh"
"""Registered name of the tanh approximation of GELU, which Keras has no name for."""

_LARGEST = 2**24
"""Limit for a configuration in bytes."""

# Settings that do not affect the output of trained weights.
_NO_PART = ("name", "dtype", "seed", "renorm_momentum")
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "trainable": (True,),
    "data_format": (None, "channels_last"),
    "axis": (-1, 3, [-1], [3]),
    "center": (True,),
    "scale": (True,),
    "negative_slope": (0,),
    "threshold": (0,),
}
"""Neutral values of settings that a description does not have."""


def read_yaml(path: Path) -> Any:
    """Reads a YAML or JSON file."""
    import yaml

    try:
        return load_yaml(_bounded(path.read_bytes()))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"expected YAML, got {' '.join(str(error).split())[:120]}") from None


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
            metadata = json.loads(file.read(min(length, _LARGEST))).get("__metadata__") or {}
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
    try:
        settings = _Inert(pickled).load()["hyper_parameters"]
        return settings[ARCHITECTURE]
    except (pickle.UnpicklingError, KeyError, TypeError, AttributeError, EOFError, ValueError, IndexError):
        raise UserError("expected the settings of a cnn_mnist run in it, got none") from None


def from_keras(config: Mapping[str, Any]) -> list[Any]:
    """Converts Keras's configuration of a sequential model to the plain form.

    Args:
        config: Keras's configuration.

    Returns:
        The plain form.

    Raises:
        UserError: The model is not sequential, or a layer has no equivalent.
    """
    body: Any = config.get("config")
    known = config.get("class_name") in ("Sequential", "Functional", "Model") and isinstance(body, Mapping)
    if not known or not _is_chain(layers := body.get("layers")):
        came = config.get("class_name") or f"a mapping of {', '.join(map(str, config)) or 'nothing'}"
        raise UserError(f"expected a list of layers, or Keras's configuration of a sequential model, got {came}")
    found = list(_plain(layers))
    built = body.get("build_input_shape")  # a sequential model without an Input layer
    return [{"Input": built[1:]}, *found] if built and layers[0]["class_name"] != "InputLayer" else found


def _plain(layers: list[Any]) -> Iterator[Any]:
    number = 0
    for layer in layers:
        kind, config = layer["class_name"], layer["config"]
        if kind == "InputLayer":
            yield {"Input": (config.get("batch_shape") or config.get("batch_input_shape") or [])[1:]}
            continue
        number += 1
        record = KINDS.get(kind)
        if record is None and kind not in ALIASES:
            yield kind  # refused when the layers are created
            continue
        names = {field.name for field in fields(record)} if record else set()
        arguments = {name: _value(number, kind, name, value) for name, value in config.items() if name in names}
        for name in config.keys() - names:
            if not _is_neutral(name, config[name]):
                raise UserError(f"layer {number}, {kind}: {name}={config[name]} is not supported")
        yield {kind: arguments} if arguments else kind


def _value(number: int, kind: str, name: str, value: Any) -> Any:
    if name == "activation" and isinstance(value, Mapping):  # a function without a name in Keras
        function = value.get("config")
        if function != GELU_TANH:
            raise UserError(f"layer {number}, {kind}: the activation {function} is not supported")
        return GELU_TANH.rpartition(">")[2]
    return value


def _is_neutral(name: str, value: Any) -> bool:
    """Returns whether a setting without an equivalent has a neutral value."""
    if name in _NEUTRAL:
        return value in _NEUTRAL[name]
    return value is None or value is False or name in _NO_PART or name.endswith("_initializer")


def _is_chain(layers: Any) -> bool:
    """Returns whether each layer has only the previous one as input."""
    if not isinstance(layers, list) or not layers:
        return False
    if not all(isinstance(entry, Mapping) and {"class_name", "config"} <= entry.keys() for entry in layers):
        return False
    before = None
    for layer in layers:
        nodes = layer.get("inbound_nodes") or []
        if nodes and (len(nodes) > 1 or json.dumps(nodes).count('"keras_history"') != 1):
            return False
        if nodes and f'"keras_history": ["{before}"' not in json.dumps(nodes):
            return False
        before = layer.get("name") or layer["config"].get("name")
    return True


def _member(path: Path, ending: str) -> bytes:
    """Reads the only file with this ending in a zip archive."""
    try:
        with ZipFile(path) as archive:
            (name,) = (name for name in archive.namelist() if f"/{name}".endswith(f"/{ending.lstrip('/')}"))
            with archive.open(name) as file:
                return _bounded(file.read(_LARGEST + 1))
    except (BadZipFile, ValueError, OSError, EOFError) as error:
        raise UserError(f"expected a whole file, got a damaged one ({' '.join(str(error).split())[:80]})") from None


def _bounded(data: bytes) -> bytes:
    if len(data) > _LARGEST:
        raise UserError(f"expected a description of at most {_LARGEST:,} bytes, got more")
    return data


class _Inert(pickle.Unpickler):
    """Reads only dicts, lists, strings and numbers of a pickle; everything else becomes an empty object."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))

    def find_class(self, module: str, name: str) -> Any:
        """Returns an inert class, without importing anything."""
        return _Nothing

    def persistent_load(self, pid: Any) -> Any:
        """Skips the storage of a tensor."""
        return None


class _Nothing(dict):
    """Accepts everything that a pickle does to an object."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass
