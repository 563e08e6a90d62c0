"""Random right ports of every kind: drawn once, built in PyTorch and in Keras, with their forward pass in float64."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import torch
from torch import Tensor, nn

from tests.ladder import port_parts as p
from tests.ladder.port_recipes import BASES, TRAININGS, Draft, draw_training
from tests.ladder.port_training import (
    Parts,
    Training,
    as_tensors,
    call,
    keras_side,
    torch_side,
    train_keras,
    train_torch,
)

Array = np.ndarray
BATCH = 16


class Network(nn.Module):
    """Runs parts in order.

    Attributes:
        outputs: Names of the output parts: one, a list, or a dict.
        kept: By part, the values of the last call that a penalty applies to.
    """

    def __init__(self, parts: Parts, inputs: Any, outputs: Any) -> None:
        super().__init__()
        self.parts, self.inputs, self.outputs = list(parts.values()), inputs, outputs
        self.kept: dict[str, Tensor] = {}
        self.keeps = {(part.fused or part).name for part in self.parts if "output" in part.penalties}
        self.keeps |= {part.name for part in self.parts if isinstance(part, p.OwnLoss)}
        for part in self.parts:
            for name, module in part.modules().items():
                self.add_module(name, module)
        for part in self.parts:
            if isinstance(part, p.Tied):
                part.tie(self)
            if part.frozen:
                for tensor in (t for role in part.parameters(self).values() for t in role):
                    tensor.requires_grad_(False)

    def forward(self, *inputs: Any, kept: dict[str, Tensor] | None = None, **named: Tensor) -> Any:
        """Takes inputs by position, as one tuple, or by name."""
        if len(inputs) == 1 and isinstance(inputs[0], (dict, list, tuple)):
            given = inputs[0]
            inputs, named = ((), given) if isinstance(given, dict) else (tuple(given), {})
        names = keras.tree.flatten(self.inputs)
        values = {names[k]: value for k, value in enumerate(inputs)} if inputs else dict(named)
        for part in self.parts:
            values[part.name] = part.torch(self, *(values[name] for name in part.takes))
        if self.keeps:
            if kept is None:
                kept = self.kept = {}
            kept.update({name: values[name] for name in self.keeps})
        return keras.tree.map_structure(lambda name: values[name], self.outputs)


class Wrapped(keras.Model):
    """A model written as a class."""

    def __init__(self, body: keras.Model) -> None:
        super().__init__()
        self.body = body

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Calls its body."""
        return self.body(inputs, training=training)


def keras_model(parts: Parts, drawn: "Drawn") -> keras.Model:
    """Builds the functional model of parts, a ``Sequential`` if it is a chain drawn so, or a class around it."""
    tensors: dict[str, Any] = {}
    for name, array in drawn.arrays.items():
        tensors[name] = keras.Input(
            array.shape[1:], dtype="float32" if array.dtype == np.float32 else "int32", name=name
        )
    inputs = {name: tensors[name] for name in drawn.arrays}
    for part in parts.values():
        tensors[part.name] = part.keras(*(tensors[name] for name in part.takes))
    given = keras.tree.map_structure(lambda name: inputs[name], drawn.inputs)
    model = keras.Model(given, keras.tree.map_structure(lambda name: tensors[name], drawn.outputs))
    chain = len(model.operations) == len(model.layers) and all(len(part.takes) == 1 for part in parts.values())
    if drawn.style == "sequential" and chain and isinstance(drawn.outputs, str) and not drawn.shared:
        return keras.Sequential([given, *model.layers[1:]])
    if drawn.style == "class":
        model = Wrapped(model)
        model(keras.tree.map_structure(lambda name: drawn.arrays[name][:2], drawn.inputs))
    return model


@dataclass
class Drawn:
    """The drawing of a port; each side is built from a copy, which a fault may change.

    Attributes:
        seed: The seed of everything random.
        base: The kind of network.
        trained: The kind of training.
        parts: Parts by name, in order.
        arrays: Inputs by name, as Keras takes them.
        axes: PyTorch's channel axis of each input, if it differs.
        inputs: Structure of the names of inputs.
        outputs: Structure of the names of output parts.
        labels: Labels in the same structure.
        training: The training.
        style: "functional", "sequential" or "class".
        auto: Whether ``check`` should transpose the images itself.
        shared: Whether two parts share weights.
        expected: Whether function and training are the same.
    """

    seed: int
    base: str
    trained: str
    parts: Parts
    arrays: dict[str, Array]
    axes: dict[str, int]
    inputs: Any
    outputs: Any
    labels: Any
    training: Training
    style: str
    auto: bool
    shared: bool
    expected: tuple[bool, bool]

    def turned(self, name: str) -> bool:
        """Whether an output has channels first in PyTorch only."""
        return self.parts[name].first and not self.parts[name].keras_first

    def given(self) -> Any:
        """Inputs for Keras."""
        return keras.tree.map_structure(lambda name: self.arrays[name], self.inputs)

    def torch_given(self) -> Any:
        """Inputs for PyTorch."""
        turn = lambda name: np.ascontiguousarray(np.moveaxis(self.arrays[name], -1, self.axes[name]))  # noqa: E731
        return keras.tree.map_structure(lambda n: turn(n) if n in self.axes else self.arrays[n], self.inputs)

    def float64(self, inputs: Any) -> list[Array]:
        """Computes the whole forward pass, each output in Keras's layout."""
        values: dict[str, Array] = {}
        for name, array in zip(keras.tree.flatten(self.inputs), keras.tree.flatten(inputs), strict=True):
            array = array.astype(np.float64) if array.dtype == np.float32 else array
            values[name] = np.moveaxis(array, 1, -1) if name in self.shared_first() else array
        for part in self.parts.values():
            values[part.name] = part.float64(*(values[name] for name in part.takes))
        names = keras.tree.flatten(self.outputs)
        first = [self.parts[n].keras_first and values[n].ndim > 2 for n in names]
        return [np.moveaxis(values[n], -1, 1) if f else values[n] for n, f in zip(names, first, strict=True)]

    def shared_first(self) -> set[str]:
        """Inputs that both frameworks take with channels first."""
        keras_first = any(part.keras_first for part in self.parts.values())
        return set(self.arrays) if keras_first else set()


@dataclass
class Side:
    """One framework's copy of a drawing."""

    parts: Parts
    training: Training
    keras_side: bool = False


@dataclass
class Port:
    """Two models with the arguments of ``check``.

    Attributes:
        kinds: The kinds of network and training.
        same_function: The expected answer.
        same_training: The expected answer.
        reference: The forward pass by hand in float64, from inputs as Keras takes them.
        names: PyTorch's and Keras's name of each part.
    """

    kinds: tuple[str, ...]
    torch_model: nn.Module
    keras_model: keras.Model
    inputs: Any
    labels: Any
    words: dict[str, Any]
    same_function: bool
    same_training: bool
    reference: Callable[[Any], list[Array]]
    torch_inputs: Any
    turned: list[bool]
    names: dict[str, list[str]] = field(default_factory=dict)

    def torch_outputs(self) -> list[Array]:
        """In inference mode, in Keras's layout."""
        self.torch_model.eval()
        with torch.no_grad():
            flat = keras.tree.flatten(call(self.torch_model, as_tensors(self.torch_inputs)))
        return [np.moveaxis(t.numpy(), 1, -1) if turn else t.numpy() for t, turn in zip(flat, self.turned, strict=True)]

    def keras_outputs(self) -> list[Array]:
        """In inference mode."""
        outputs = self.keras_model(self.inputs, training=False)
        return [keras.ops.convert_to_numpy(t) for t in keras.tree.flatten(outputs)]

    def apart(self) -> float:
        """Returns the present distance of the two models, without the ladder."""
        return distance(self.torch_outputs(), self.keras_outputs())

    def train_plainly(self, steps: int) -> float:
        """Trains both in plain loops; returns their distance afterwards."""
        silence(self.torch_model, self.keras_model)
        train_torch(self.torch_model, self.words, self.torch_inputs, self.labels, BATCH, steps)
        train_keras(self.keras_model, self.words, self.inputs, self.labels, BATCH, steps)
        return self.apart()


def distance(ours: list[Array], others: list[Array]) -> float:
    """Returns the largest difference, relative to each output's size."""
    worst = 0.0
    for a, b in zip(ours, others, strict=True):
        if a.shape != b.shape or not np.isfinite(a).all():
            return np.inf
        worst = max(worst, float(np.abs(a - b).max() / np.abs(b).max()))
    return worst


def silence(net: nn.Module, model: keras.Model) -> None:
    """Switches dropout and noise off."""
    for module in net.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        if isinstance(module, p.GaussianNoise):
            module.std = 0.0
    for layer in model._flatten_layers():
        for word in ("rate", "stddev", "dropout"):
            if isinstance(vars(layer).get(word), float) and not isinstance(layer, p.AddLoss):
                setattr(layer, word, 0.0)


def draw(seed: int, base: str | None = None, trained: str | None = None) -> Drawn:
    """Draws a port; without names, the seed cycles through the kinds so that all are equally frequent."""
    bases, trainings = list(BASES), list(TRAININGS)
    base = base or bases[seed % len(bases)]
    trained = trained or trainings[(seed + seed // len(bases) * 5) % len(trainings)]
    draft = Draft(seed, base, trained)
    BASES[base](draft)
    training, kind = draw_training(draft, trained)
    random = draft.random
    return Drawn(
        seed, base, kind, draft.parts, draft.arrays, draft.axes, draft.input_structure(), draft.outputs, draft.labels,
        training, str(random.choice(["functional", "functional", "sequential", "class"])), bool(random.random() < 0.5),
        any(isinstance(part, p.Again | p.Tied) for part in draft.parts.values()), (True, draft.trains_alike()),
    )  # fmt: skip


def build(drawn: Drawn, torch_changed: Side | None = None, keras_changed: Side | None = None) -> Port:
    """Builds both sides of a drawing, each from its own copy or from a changed one."""
    keras.utils.clear_session()
    ours, others = torch_changed or copied(drawn), keras_changed or copied(drawn)
    net = Network(ours.parts, drawn.inputs, drawn.outputs)
    model = keras_model(others.parts, drawn)
    turned = {name: drawn.turned(name) for name in keras.tree.flatten(drawn.outputs)}
    module, words = torch_side(ours.training, ours.parts, net, turned)
    words |= keras_side(others.training, model, drawn.outputs) | {"batch_size": BATCH, "steps": 20}
    if drawn.axes and not (
        drawn.auto and all(drawn.arrays[n].ndim == 4 and axis == 1 for n, axis in drawn.axes.items())
    ):
        words["torch_images"] = drawn.torch_given()
    elif drawn.shared_first():
        words["torch_images"] = drawn.given()
    names = {}
    for name in drawn.parts:
        owner = getattr(others.parts[name], "owner", None)
        layers = [*others.parts[name].layers, *(owner.layers if owner else [])]
        layers += [layer.layer for layer in layers if isinstance(layer, keras.layers.TimeDistributed)]
        names[name] = [name, *(layer.name for layer in layers if hasattr(layer, "name"))]
    return Port(
        (drawn.base, drawn.trained), module, model, drawn.given(), drawn.labels, words, *drawn.expected, drawn.float64,
        drawn.torch_given(), list(turned.values()), names,
    )  # fmt: skip


def copied(drawn: Drawn) -> Side:
    """Returns a side's own copy."""
    return Side(*copy.deepcopy((drawn.parts, drawn.training)))


def right_port(seed: int) -> Port:
    """A right port."""
    return build(draw(seed))
