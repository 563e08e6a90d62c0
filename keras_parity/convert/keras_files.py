"""Reads and writes ``.keras`` and ``.weights.h5``, safely."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
from numpy.typing import NDArray

from cnn_mnist.architecture.layers import Layer
from cnn_mnist.architecture.trace import ARCHITECTURES, layers_of
from cnn_mnist.errors import UserError
from cnn_mnist.settings import ModelSettings
from keras_parity.convert.portable import Portable, named_architecture, weight_shapes
from keras_parity.twin.checkpoints import read_model
from keras_parity.twin.network import build_twin, load_weights, read_weights
from keras_parity.twin.optimizers import make_optimizer, settings_of

SLOTS = {"rmsprop": ("velocity", "momentum", "average_gradient"), "sgd": ("momentum",)}
"""Names that Keras's optimizers give their arrays; those of Adam and AdamW are the default."""

_ADAM_SLOTS = ("momentum", "velocity")


@contextmanager
def dtype_of(weights: dict[str, NDArray]) -> Iterator[str]:
    """Has Keras build in the dtype of the weights, and puts its settings back."""
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    dtype = str(next(iter(weights.values())).dtype)
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield dtype
    finally:
        keras.config.set_floatx(floatx)
        keras.config.set_dtype_policy(policy)


def read_keras(path: Path, layers: Sequence[Layer] | None = None) -> Portable:
    """Reads a ``.keras`` file, with its optimizer where it has one; ``layers`` for an architecture without a name."""
    model = read_model(str(path))
    weights = read_weights(model)
    shapes = {name: array.shape for name, array in weights.items()}
    if layers is not None and weight_shapes(layers) != shapes:
        raise UserError(f"expected the weights of the layers, got {path}, which has others")
    name = None if layers is not None else named_architecture(shapes, str(path))
    records = layers_of(name) if name else layers or ()
    settings: dict[str, Any] = {"architecture": name} if name else {}
    if model.optimizer is None:
        return Portable(records, weights, ModelSettings(**settings))
    optimizer = model.optimizer
    settings |= settings_of(optimizer)
    return Portable(records, weights, ModelSettings(**settings), _slots(optimizer, weights), int(optimizer.iterations))


def read_h5(path: Path, layers: Sequence[Layer] | None = None) -> Portable:
    """Reads a ``.weights.h5`` file; the architecture is the named one that fits, or ``layers``."""
    if not path.is_file():
        raise UserError(f"expected a .weights.h5 file, got {path}, which is no file")
    candidates = {"": layers} if layers is not None else ARCHITECTURES
    reason = ""
    for name, records in candidates.items():
        model = build_twin(records)
        try:
            model.load_weights(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:120]
            continue
        settings = ModelSettings(architecture=name) if name else ModelSettings()
        return Portable(records, read_weights(model), settings)
    known = ", ".join(filter(None, candidates)) or "the layers"
    raise UserError(f"expected the weights of {known}, got {path}, which cannot be loaded as one of them ({reason})")


def write_keras(portable: Portable, path: Path) -> None:
    """Writes a ``.keras`` file that ``python -m keras_parity --ckpt_path`` goes on from."""
    with dtype_of(portable.weights):
        make_keras_model(portable).save(path)


def write_h5(portable: Portable, path: Path) -> None:
    """Writes a ``.weights.h5`` file."""
    with dtype_of(portable.weights):
        model = build_twin(portable.layers)
        load_weights(model, portable.weights)
        model.save_weights(path)


def make_keras_model(portable: Portable) -> keras.Sequential:
    """The compiled model with its weights and its optimizer's slots, in the dtype policy in force."""
    model = build_twin(portable.layers)
    load_weights(model, portable.weights)
    optimizer = make_optimizer(portable.settings)
    model.compile(
        optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="acc")],
        jit_compile=False,
    )
    optimizer.build(model.trainable_variables)
    if portable.slots is not None:
        optimizer.iterations.assign(portable.iterations)
        for variable, (slot, name) in zip(
            _slot_variables(optimizer), _slot_order(optimizer, portable.weights), strict=True
        ):
            variable.assign(portable.slots[slot][name])
    return model


def _slots(optimizer: keras.Optimizer, weights: dict[str, NDArray]) -> dict[str, dict[str, NDArray]]:
    slots: dict[str, dict[str, NDArray]] = {}
    for variable, (slot, name) in zip(_slot_variables(optimizer), _slot_order(optimizer, weights), strict=True):
        slots.setdefault(slot, {})[name] = variable.numpy()
    return slots


def _slot_variables(optimizer: keras.Optimizer) -> list[keras.Variable]:
    """All of an optimizer's variables but the count of updates and the learning rate."""
    return [v for v in optimizer.variables if v.path.rsplit("/", 1)[-1] not in ("iteration", "learning_rate")]


def _slot_order(optimizer: keras.Optimizer, weights: dict[str, NDArray]) -> list[tuple[str, str]]:
    """(slot, weight) of each of those variables, which lie slot by slot or, in Adam, weight by weight."""
    kind = type(optimizer).__name__.lower()
    used = [slot for slot in SLOTS.get(kind, _ADAM_SLOTS) if _uses(optimizer, slot)]
    paths = [variable.path.rsplit("/", 1)[-1] for variable in _slot_variables(optimizer)]
    seen = {slot: iter(weights) for slot in used}
    order = []
    for path in paths:
        slot = next(slot for slot in sorted(used, key=len, reverse=True) if path.endswith(slot))
        order.append((slot, next(seen[slot])))
    return order


def _uses(optimizer: keras.Optimizer, slot: str) -> bool:
    if type(optimizer).__name__ in ("Adam", "AdamW") or slot == "velocity":
        return True
    return bool(optimizer.centered if slot == "average_gradient" else optimizer.momentum)
