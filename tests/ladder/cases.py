"""Pairs of models that people ask about in public, with the expected verdict, and two ways to check it."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

import keras_parity as kp

QUICK = {"batch_size": 16, "steps": 12}
ROUNDING = {"float32": 1e-5, "float64": 1e-7}  # relative, more than a dozen steps accumulate
flat = keras.tree.flatten

FAST = {
    "torch_optimizer": lambda params: torch.optim.SGD(params, 0.1),
    "keras_optimizer": lambda: keras.optimizers.SGD(0.1),
}
"""Optimizers that move the outputs within a few steps."""


def cross_entropy(labels: Any, logits: Any) -> Any:
    """Keras's mean cross-entropy from logits, in nats []."""
    return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))


def squared(labels: Any, output: Any) -> Any:
    """Keras's mean squared error."""
    return keras.ops.mean(keras.ops.square(output - keras.ops.cast(labels, output.dtype)))


@dataclass
class Case:
    """Two models as a user has them.

    Attributes:
        torch_model: PyTorch's model.
        keras_model: Keras's model.
        images: Inputs as Keras takes them.
        labels: Labels as both losses take them.
        words: Further arguments of ``check``.
        torch_loss: PyTorch's loss (output, labels) that ``check`` should guess.
        keras_loss: Keras's loss (labels, output) that ``check`` should guess.
        limit: Relative difference that plain trainings may reach, if no setting makes the frameworks equal.
    """

    torch_model: nn.Module
    keras_model: keras.Model
    images: Any
    labels: Any
    words: Mapping[str, Any] = field(default_factory=dict)
    torch_loss: Any = F.cross_entropy
    keras_loss: Any = cross_entropy
    limit: float = 0.0

    def check(self, **changed: Any) -> Any:
        """Returns the report."""
        words = QUICK | dict(self.words) | changed
        return kp.check(self.torch_model, self.keras_model, self.images, self.labels, **words)

    def after_pasting(self, report: Any) -> Any:
        """Returns the report after pasting the fixes of another report."""
        names = ("torch_optimizer", "keras_optimizer", "torch_loss", "keras_loss", "torch_schedule", "torch_images")
        space = {name: self.words.get(name) for name in names}
        space |= {"torch_model": self.torch_model, "keras_model": self.keras_model, "report": report}
        space |= {
            "images": self.images,
            "labels": self.labels,
            "torch": torch,
            "nn": nn,
            "keras": keras,
            "np": np,
            "F": F,
        }
        for line in report.to_paste:
            exec(line, space)
        for name in ("torch_model", "keras_model", "images", "labels"):
            setattr(self, name, space[name])
        return self.check(**{name: space[name] for name in names if space[name] is not None})


@dataclass(frozen=True)
class Truth:
    """The expected verdict on a case.

    Attributes:
        function: Whether both models are the same function.
        training: Whether they train the same; None if the functions differ.
        since: The steps from which the trainings may differ, one of which must be reported.
        named: A pattern that some finding must match.
        mended: The expected (same function, same training) after pasting the fixes; None if no fix exists.
    """

    function: bool
    training: bool | None = None
    since: Sequence[int] = ()
    named: str = ""
    mended: tuple[bool, bool] | None = None


SAME = Truth(True, True)
MENDED = (True, True)


def apart(named: str, since: Sequence[int] = (1,), mended: tuple[bool, bool] | None = MENDED) -> Truth:
    """Expects the same function and different trainings."""
    return Truth(True, False, since, named, mended)


def other(named: str, mended: tuple[bool, bool] | None = MENDED) -> Truth:
    """Expects different functions."""
    return Truth(False, None, (), named, mended)


def by_check(case: Case, truth: Truth) -> None:
    """Checks the expectation with ``check``."""
    report = case.check()
    assert report.same_function is truth.function, report
    if truth.function:
        assert report.same_training is truth.training, report
    starts = {SAME: "same function, same training"}.get(truth, "same function, training differs from step ")
    assert report.verdict.startswith(starts if truth.function else "not the same function")
    if truth == SAME:
        assert (report.differs_from, report.to_paste) == (None, [])
        return
    if truth.function:
        assert report.differs_from in truth.since
    named = [f"{finding.where}: {finding.what}" for finding in report.findings]
    assert any(re.search(truth.named, text, re.IGNORECASE) for text in named), (truth.named, named)
    if truth.mended is not None:
        again = case.after_pasting(report)
        assert (again.same_function, again.same_training) == truth.mended, (report.to_paste, str(again))


def plainly(case: Case, truth: Truth) -> None:
    """Checks the expectation with the two frameworks alone, without the ladder."""
    distances = plain_distances(case)
    limit = max(case.limit, ROUNDING[keras.config.floatx()])
    assert (distances[0] <= limit) is truth.function, distances
    if truth.function:
        first = next((step for step, distance in enumerate(distances) if not distance <= limit), None)
        assert (first is None) is truth.training, distances
        assert truth.training or first in truth.since, distances


def plain_distances(case: Case) -> list[float]:
    """Returns the relative distances of the outputs before training and after each step."""
    words = QUICK | dict(case.words)
    network, model, dtype = case.torch_model, case.keras_model, keras.config.floatx()
    network.to(getattr(torch, dtype))
    for each in (*network.modules(), *model._flatten_layers()):  # noise is off
        rates = {nn.MultiheadAttention: "dropout", keras.layers.GaussianNoise: "stddev"}
        name = rates.get(type(each), "p" if isinstance(each, nn.modules.dropout._DropoutNd) else "rate")
        if re.search("dropout|noise|attention", type(each).__name__, re.IGNORECASE) and hasattr(each, name):
            setattr(each, name, 0.0)
    cast = lambda array: array.astype(dtype) if array.dtype.kind == "f" else array  # noqa: E731
    theirs, labels = (keras.tree.map_structure(cast, nest) for nest in (case.images, case.labels))
    ours = words.get("torch_images")
    ours = keras.tree.map_structure(_turned if ours is None else cast, theirs if ours is None else ours)
    step = _torch_step(case, words)
    _compile(case, words)
    same = min(words["batch_size"], len(flat(labels)[0]))
    count = len(flat(labels)[0]) // same
    weights = words.get("sample_weight")
    distances = [_distance(network, model, ours, theirs)]
    for place in range(words["steps"]):
        cut = lambda array, at=place % count: array[at * same : (at + 1) * same]  # noqa: E731
        batch = (keras.tree.map_structure(cut, nest) for nest in (ours, theirs, labels))
        our_inputs, their_inputs, targets = batch
        network.train()
        step(_tensors(our_inputs), _tensors(targets))
        more = {"sample_weight": cut(cast(weights))} if weights is not None else {}
        if "train_step" in vars(type(model)):  # the user's own takes what ``fit`` gives it
            model.fit(their_inputs, targets, batch_size=same, verbose=0)
        else:
            model.train_on_batch(their_inputs, targets, class_weight=words.get("class_weight"), **more)
        distances.append(_distance(network, model, ours, theirs))
    return distances


def _turned(array: NDArray) -> NDArray:
    return np.ascontiguousarray(np.moveaxis(array, -1, 1)) if array.ndim == 4 and array.dtype.kind == "f" else array


def _tensors(nest: Any) -> Any:
    return keras.tree.map_structure(torch.tensor, nest)


def _called(network: nn.Module, inputs: Any) -> Any:
    return network(*inputs) if isinstance(inputs, (list, tuple)) else network(inputs)


def _torch_step(case: Case, words: Mapping[str, Any]) -> Any:
    if words.get("torch_step") is not None:
        return words["torch_step"]
    network, made = case.torch_model, words.get("torch_optimizer")
    if made is None:
        made = getattr(network, "configure_optimizers", lambda: torch.optim.SGD(network.parameters(), 0.01))()
    optimizer = made if isinstance(made, torch.optim.Optimizer) else made(list(network.parameters()))
    schedule = words["torch_schedule"](optimizer) if words.get("torch_schedule") else None
    loss = words.get("torch_loss") or case.torch_loss

    def step(inputs: Any, labels: Any) -> None:
        optimizer.zero_grad()
        if hasattr(network, "training_step"):
            network.training_step((inputs, labels), 0).backward()
        else:
            loss(_called(network, inputs), labels).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()

    return step


def _compile(case: Case, words: Mapping[str, Any]) -> None:
    loss, optimizer = (words.get(f"keras_{name}") for name in ("loss", "optimizer"))
    if case.keras_model.compiled and loss is None and optimizer is None:
        return
    optimizer = optimizer or keras.optimizers.SGD(0.01)
    optimizer = optimizer if isinstance(optimizer, keras.Optimizer) else optimizer()
    case.keras_model.compile(optimizer, loss or case.keras_loss)


def _distance(network: nn.Module, model: keras.Model, ours: Any, theirs: Any) -> float:
    network.eval()
    with torch.no_grad():
        our_outputs = [output.numpy() for output in flat(_called(network, _tensors(ours)))]
    their_outputs = [keras.ops.convert_to_numpy(output) for output in flat(model(theirs, training=False))]
    worst = 0.0
    for one, two in zip(our_outputs, their_outputs, strict=True):
        if one.shape != two.shape and one.ndim == two.ndim > 2:
            one = np.moveaxis(one, 1, -1)
        one, two = (one, two) if one.shape == two.shape else (one.squeeze(), two.squeeze())
        difference = np.abs(one - two).max() / np.abs(two).max() if one.shape == two.shape else np.inf
        worst = max(worst, difference) if np.isfinite(difference) else np.inf
    return float(worst)


def fill(model: keras.Model, *parts: nn.Module | Sequence[NDArray]) -> None:
    """Copies modules' weights, or arrays, into the layers of a Keras model that have weights, in order."""
    owners = [layer for layer in model.layers if layer.weights]
    for layer, part in zip(owners, parts, strict=True):
        layer.set_weights(as_keras(part) if isinstance(part, nn.Module) else part)


def as_keras(module: nn.Module) -> list[NDArray]:
    """Returns a module's weights in the layout of Keras's layer."""
    if isinstance(module, (nn.LSTM, nn.GRU)):
        return recurrent(module)
    if isinstance(module, nn.MultiheadAttention):
        return attention(module)
    kept = [numpy(tensor) for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False))]
    if isinstance(module, nn.Linear):
        kept[0] = kept[0].T
    elif isinstance(module, nn.modules.conv._ConvNd):
        kept[0] = kept[0].transpose(*range(2, kept[0].ndim), 1, 0)
    return [array for array in kept if array.dtype.kind == "f"]


def numpy(tensor: torch.Tensor) -> NDArray:
    """Returns a weight as an array."""
    return tensor.detach().numpy()


def recurrent(module: nn.Module, suffix: str = "l0") -> list[NDArray]:
    """Returns kernel, recurrent kernel and bias of one layer and direction of an LSTM or GRU, in Keras's layout."""
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    kernel, inner, bias, inner_bias = (numpy(getattr(module, f"{name}_{suffix}")) for name in names)
    if isinstance(module, nn.LSTM):
        return [kernel.T, inner.T, bias + inner_bias]
    return [gates(kernel).T, gates(inner).T, np.stack([gates(bias), gates(inner_bias)])]


def gates(array: NDArray) -> NDArray:
    """Returns a GRU's gates in Keras's order: z, r, h."""
    reset, update, new = np.split(array, 3)
    return np.concatenate([update, reset, new])


def attention(module: nn.MultiheadAttention) -> list[NDArray]:
    """Returns an attention's weights in Keras's layout: query, key, value and output, by heads."""
    heads, size = module.num_heads, module.embed_dim
    weights = np.split(numpy(module.in_proj_weight), 3)
    biases = np.split(numpy(module.in_proj_bias), 3)
    parts = [(w.T.reshape(size, heads, -1), b.reshape(heads, -1)) for w, b in zip(weights, biases, strict=True)]
    out = numpy(module.out_proj.weight).T.reshape(heads, -1, size), numpy(module.out_proj.bias)
    return list(itertools.chain(*parts, out))


def columns(module: nn.Linear, height: int, width: int) -> list[NDArray]:
    """Returns the weights of a dense layer after a flattened image, with inputs ordered by position, not by channel."""
    weight = numpy(module.weight).reshape(module.out_features, -1, height, width)
    return [weight.transpose(2, 3, 1, 0).reshape(-1, module.out_features), numpy(module.bias)]
