"""Reads descriptions out of files, without running code from them and without a framework."""

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
from cnn_mnist.untrusted import LARGEST_TEXT, pickle_is_small, read_text, zip_fits
from cnn_mnist.yaml_files import load_yaml

ARCHITECTURE = "architecture"
"""Key of the description in the metadata of a ``.safetensors`` file and among the settings of a ``.ckpt``."""

GELU_TANH = "keras_parity>gelu_tanh"
"""The registered name of the only function that Keras has no name for and that a record has."""

# What changes no number once the weights are there.
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
"""The only values that these may have."""


def read_yaml(path: Path) -> Any:
    """The content of a YAML or JSON file."""
    import yaml

    try:
        return load_yaml(read_text(path))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"expected YAML, got {' '.join(str(error).split())[:120]}") from None


def read_keras(path: Path) -> Any:
    """Keras's configuration of the model in a ``.keras`` file."""
    config = _member(path, "config.json")
    try:
        return json.loads(config)
    except (ValueError, RecursionError):
        raise UserError("expected Keras's configuration in it, got a damaged one") from None


def read_safetensors(path: Path) -> Any:
    """The description in the metadata of a ``.safetensors`` file."""
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
    """The description among the settings of a Lightning checkpoint."""
    pickled = _member(path, "/data.pkl")
    if not pickle_is_small(pickled):
        raise UserError("expected the settings of a cnn_mnist run in it, got a damaged or hostile pickle")
    try:
        settings = _Inert(pickled).load()["hyper_parameters"]
        return settings[ARCHITECTURE]
    except (
        pickle.UnpicklingError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        ValueError,
        IndexError,
        OverflowError,
    ):
        raise UserError("expected the settings of a cnn_mnist run in it, got none") from None


def from_keras(config: Mapping[str, Any]) -> list[Any]:
    """The plain form of Keras's configuration of a model whose layers form one chain.

    Raises:
        UserError: It is no such model, or a layer of it does something that no record does.
    """
    body: Any = config.get("config")
    known = config.get("class_name") in ("Sequential", "Functional", "Model") and isinstance(body, Mapping)
    if not known or not _is_chain(layers := body.get("layers")):
        came = config.get("class_name") or f"a mapping of {', '.join(map(str, config)) or 'nothing'}"
        raise UserError(f"expected a list of layers, or Keras's configuration of a sequential model, got {came}")
    found = list(_plain(layers))
    built = body.get("build_input_shape")  # of a sequential model that names no input
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
            yield kind  # which whoever makes the records refuses
            continue
        names = {field.name for field in fields(record)} if record else set()
        arguments = {name: _value(number, kind, name, value) for name, value in config.items() if name in names}
        for name in config.keys() - names:
            if not _is_neutral(name, config[name]):
                raise UserError(f"layer {number}, {kind}: {name}={config[name]}, which no record has")
        yield {kind: arguments} if arguments else kind


def _value(number: int, kind: str, name: str, value: Any) -> Any:
    if name == "activation" and isinstance(value, Mapping):  # a function that Keras has no name for
        function = value.get("config")
        if function != GELU_TANH:
            raise UserError(f"layer {number}, {kind}: the activation {function}, which no record has")
        return GELU_TANH.rpartition(">")[2]
    return value


def _is_neutral(name: str, value: Any) -> bool:
    """Whether a setting that no record has changes nothing."""
    if name in _NEUTRAL:
        return value in _NEUTRAL[name]
    return value is None or value is False or name in _NO_PART or name.endswith("_initializer")


def _is_chain(layers: Any) -> bool:
    """Whether each layer of a functional model takes the one before it alone; those of a sequential one do."""
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
    """The only file in a zip archive that ends so."""
    try:
        with ZipFile(path) as archive:
            (name,) = (name for name in archive.namelist() if f"/{name}".endswith(f"/{ending.lstrip('/')}"))
            if not zip_fits(archive, path):
                raise UserError("expected a file that holds what it declares, got one that unpacks to far more")
            return archive.read(name)
    except UserError:
        raise
    except (BadZipFile, ValueError, OSError, EOFError) as error:
        raise UserError(f"expected a whole file, got a damaged one ({' '.join(str(error).split())[:80]})") from None


class _Inert(pickle.Unpickler):
    """Reads a pickle's own dicts, lists, strings and numbers; whatever else is in it becomes an empty object."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))

    def find_class(self, module: str, name: str) -> Any:
        """Nothing is imported and nothing is called."""
        return _Nothing

    def persistent_load(self, pid: Any) -> Any:
        """A tensor's storage."""
        return None


class _Nothing(dict):
    """Takes whatever a pickle does to an object."""

    def __init__(self, *_: Any, **__: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        pass
