"""Faults of ports, one and two at a time: ``check`` names each and tries its fix.

``pytest -m slow -s tests/ladder/test_faults.py`` prints the table.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import keras_parity as kp
from keras_parity.ladder.report import Report
from tests.ladder.pairs import NETWORKS, Given, make

O = keras.optimizers  # noqa: E741
Change = Callable[[Given], None]


class Fault(NamedTuple):
    """A change, and the finding that ``check`` must report.

    Attributes:
        network: One of ``NETWORKS``.
        change: Makes the fault.
        where: Pattern of the place, matched from its start.
        fix: Pattern of a fix that works; "" if none is known.
    """

    network: str
    change: Change
    where: str
    fix: str = ""


def replace(**parts: nn.Module) -> Change:
    """Replaces modules in PyTorch's model."""
    return lambda given: [setattr(given.torch_model, name, part) for name, part in parts.items()] and None


def set_to(module: str, **settings: object) -> Change:
    """Changes settings of one of PyTorch's modules."""

    def change(given: Given) -> None:
        for name, value in settings.items():
            setattr(getattr(given.torch_model, module), name, value)

    return change


def resized(features: int, fault: Change) -> Change:
    """A fault that changes the flattened shape, with the next layer resized to it."""

    def change(given: Given) -> None:
        fault(given)
        given.torch_model.fc1 = nn.Linear(features, 16)
        given.torch_model.fc1.bias.data = torch.from_numpy(given.keras_model.get_layer("three").get_weights()[1])

    return change


def weight(name: str, function: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    """Rearranges one of PyTorch's weights."""

    def change(given: Given) -> None:
        tensor = given.torch_model.get_parameter(name)
        tensor.data = function(tensor.data).contiguous().clone()

    return change


def swap(one: str, other: str) -> Change:
    """Swaps two of PyTorch's weights."""

    def change(given: Given) -> None:
        first, second = given.torch_model.get_parameter(one), given.torch_model.get_parameter(other)
        first.data, second.data = second.data.clone(), first.data.clone()

    return change


def words(**words: object) -> Change:
    """Adds arguments of ``check``."""
    return lambda given: given.words.update(words)


def fed(function: Callable[[np.ndarray], np.ndarray]) -> Change:
    """Passes PyTorch images computed from Keras's transposed ones."""

    def change(given: Given) -> None:
        given.words["torch_images"] = np.ascontiguousarray(function(given.images.transpose(0, 3, 1, 2)))

    return change


def optimizers(of_torch: Callable, of_keras: Callable) -> Change:
    """Sets both optimizers."""
    return words(torch_optimizer=of_torch, keras_optimizer=of_keras)


def torch_frozen(given: Given) -> None:
    given.torch_model.conv2.requires_grad_(False)


def keras_frozen(given: Given) -> None:
    given.keras_model.get_layer("four").trainable = False


def naive_flatten(given: Given) -> None:
    """The kernel after a flatten, transposed but in Keras's order."""
    given.torch_model.fc1.weight.data = torch.from_numpy(given.keras_model.get_layer("three").get_weights()[0].T.copy())


def keras_momentum(given: Given) -> None:
    given.keras_model.get_layer("norm2").momentum = 0.01


FAULTS = {
    "padding of a convolution": Fault("plain", resized(288, set_to("conv1", padding=(1, 1))), "conv1", "conv1.padding"),
    "stride": Fault("plain", resized(72, set_to("conv2", stride=(2, 2))), "conv2", "conv2.stride = .1, 1."),
    "dilation": Fault("plain", set_to("conv2", dilation=(2, 2), padding=(2, 2)), "conv2", "conv2.dilation"),
    "activation missing": Fault("plain", replace(act1=nn.Identity()), "one to conv2", "linear"),
    "another activation": Fault("plain", replace(act4=nn.ReLU()), "four to fc3", "activations.relu"),
    "activation doubled": Fault("plain", replace(act4=nn.Sequential(nn.Tanh(), nn.Tanh())), "four to fc3", "h.*tanh"),
    "slope of a leaky ReLU": Fault("plain", replace(act2=nn.LeakyReLU(0.01)), "two to fc1", "slope = 0.3"),
    "gelu by tanh": Fault("plain", replace(act3=nn.GELU("tanh")), "three to fc2", "approximate=True"),
    "average for maximum": Fault("plain", replace(pool=nn.AvgPool2d(2)), "one to conv2", "AveragePooling2D"),
    "pooling of another size": Fault("plain", replace(pool=nn.MaxPool2d(3, 2, 1)), "one to conv2", "kernel_size"),
    "flatten's order": Fault("plain", naive_flatten, "fc1.weight", "permute"),
    "kernel with its axes swapped": Fault("plain", weight("conv1.weight", lambda w: w.mT), "conv1.weight", "transpose"),
    "kernel flipped": Fault("plain", weight("conv2.weight", lambda w: w.flip(2, 3)), "conv2.weight", "flip.2, 3"),
    "matrix not transposed": Fault("plain", weight("fc2.weight", lambda w: w.T), "fc2.weight", "transpose.0, 1"),
    "two biases swapped": Fault("plain", swap("fc1.bias", "fc2.bias"), "fc[12].bias", "fc2.bias"),
    "softmax before the loss": Fault(
        "plain", words(torch_loss=lambda x, y: F.cross_entropy(x.softmax(1), y)), "the loss", "entropy.logits, labels"
    ),
    "sum for mean": Fault(
        "plain", words(torch_loss=lambda x, y: F.cross_entropy(x, y, reduction="sum")), "the loss", "entropy.logits, l"
    ),
    "label smoothing": Fault(
        "plain", words(torch_loss=lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1)), "the loss", "logits, labels"
    ),
    "nll_loss of logits": Fault("plain", words(torch_loss=F.nll_loss), "the loss", "entropy.logits, labels"),
    "learning rate off by 10": Fault(
        "plain", optimizers(lambda p: torch.optim.SGD(p, 0.1), lambda: O.SGD(0.01)), "the optimizer", "'lr'. = 0.0"
    ),
    "momentum of SGD": Fault(
        "plain", optimizers(lambda p: torch.optim.SGD(p, 0.01), lambda: O.SGD(0.01, 0.9)), "the optimizer", "SGD|moment"
    ),
    "nesterov": Fault(
        "plain", optimizers(lambda p: torch.optim.SGD(p, 0.01, 0.9), lambda: O.SGD(0.01, 0.9, nesterov=True)),
        "the optimizer", "nesterov",
    ),
    "Adam's epsilon": Fault(
        "plain", optimizers(lambda p: torch.optim.Adam(p, 1e-3), lambda: O.Adam(1e-3)), "the optimizer", "KerasAdam|eps"
    ),
    "Adam's betas": Fault(
        "plain", optimizers(lambda p: torch.optim.Adam(p, 1e-3, (0.5, 0.999), 1e-7), lambda: O.Adam(1e-3)),
        "the optimizer", "betas|KerasAdam",
    ),
    "RMSprop's epsilon and rho": Fault(
        "plain", optimizers(lambda p: torch.optim.RMSprop(p, 1e-3), lambda: O.RMSprop(1e-3)), "the optimizer",
        "KerasRMSprop",
    ),
    "weight decay that only PyTorch has": Fault(
        "plain", optimizers(lambda p: torch.optim.SGD(p, 0.01, weight_decay=0.1), lambda: O.SGD(0.01)), "the optimizer",
        "weight_decay",
    ),
    "frozen in PyTorch": Fault("plain", torch_frozen, "conv2", "conv2.weight.requires_grad_.True"),
    "frozen in Keras": Fault("plain", keras_frozen, "fc2", "four.*trainable = True"),
    "images not scaled": Fault("plain", fed(lambda x: x * 255), "the batches", "/ 255"),
    "images scaled twice": Fault("plain", fed(lambda x: x / 255), "the batches", r"\* 255"),
    "BGR for RGB": Fault("plain", fed(lambda x: x[:, ::-1]), "the batches", "::-1"),
    "images transposed": Fault("plain", fed(lambda x: x.swapaxes(2, 3)), "the batches", "swapaxes"),
    "images in another order": Fault("plain", fed(lambda x: x[::-1]), "the batches", "::-1"),
    "epsilon of a batch norm": Fault("residual", set_to("bn2", eps=1e-5), "bn2", "bn2.eps = 0.001"),
    "momentum m for 1 - m": Fault("residual", set_to("bn3", momentum=0.99), "bn3", "bn3.momentum = 0.01"),
    "momentum": Fault("residual", keras_momentum, "bn2", "bn2.momentum = 0.99"),
    "gamma and beta swapped": Fault("residual", swap("bn1.weight", "bn1.bias"), "bn1", "bn1.bias"),
    "kernel of BGR": Fault("residual", weight("stem.weight", lambda w: w.flip(1)), "stem.weight", "flip.1"),
    "ReLU after the sum missing": Fault("residual", replace(act3=nn.Identity()), ".* to fc", "linear"),
    "maximum for the global average": Fault("residual", replace(pool=nn.AdaptiveMaxPool2d(1)), ".* to fc", "GlobalMax"),
    "ELU for ReLU": Fault("residual", replace(act1=nn.ELU()), "norm1 to ", "elu"),
    "padding before for after": Fault("mobile", replace(pad=nn.ZeroPad2d((1, 0, 1, 0))), "stem", "pad = nn.Const"),
    "padding on both sides": Fault("mobile", replace(pad=nn.ZeroPad2d(1)), "stem", "pad = nn.ConstantPad2d"),
    "the average counts the border": Fault("mobile", set_to("pool", count_include_pad=True), "point to fc1", "pad"),
    "softplus for ReLU6": Fault("mobile", replace(act3=nn.Softplus()), "point to fc1", "softplus"),
    "ReLU for SiLU": Fault("mobile", replace(act2=nn.ReLU()), "deep to pointwise", "activations.relu"),
    "epsilon of a layer norm": Fault("mobile", set_to("norm", eps=1e-5), "norm", "norm.eps = 0.001"),
    "depthwise kernel flipped": Fault(
        "mobile", weight("depthwise.weight", lambda w: w.flip(2, 3)), "depthwise.weight", "flip"
    ),
}  # fmt: skip

PAIRS = [
    ("padding of a convolution", "another activation"),
    ("activation missing", "frozen in PyTorch"),
    ("slope of a leaky ReLU", "Adam's epsilon"),
    ("average for maximum", "gelu by tanh"),
    ("kernel flipped", "matrix not transposed"),
    ("dilation", "learning rate off by 10"),
    ("epsilon of a batch norm", "momentum m for 1 - m"),
    ("ELU for ReLU", "maximum for the global average"),
    ("ReLU for SiLU", "epsilon of a layer norm"),
    ("images not scaled", "label smoothing"),
]
"""Two faults of one network at once."""


def run(*names: str) -> Report:
    """Returns the report on a network with these faults."""
    given = made(FAULTS[names[0]].network)
    for name in names:
        FAULTS[name].change(given)
    return kp.check(given.torch_model, given.keras_model, given.images, given.labels, **given.words)


def made(network: str) -> Given:
    def copy(keras_model: keras.Model, torch_model: nn.Module) -> None:
        images = np.random.default_rng(1).random((4, *keras_model.input_shape[1:]), dtype=np.float32)
        kp.check(torch_model, keras_model, images).match.copy_to_torch(keras_model, torch_model)

    return make(network, copy)


def judged(report: Report, names: tuple[str, ...]) -> list[tuple[bool, bool]]:
    """Returns, for each fault, whether it is named and whether a fix was found."""
    found = []
    for name in names:
        fault = FAULTS[name]
        fitting = [finding for finding in report.findings if re.match(fault.where, finding.where)]
        lines = [fix.line for finding in fitting for fix in finding.fixes]
        found.append((bool(fitting), any(re.search(fault.fix or ".", line) for line in lines)))
    return found


def strangers(report: Report, names: tuple[str, ...]) -> list[str]:
    """Returns the places that are named without a fault."""
    places = [FAULTS[name].where for name in names]
    return [c.where for c in report.findings if not any(re.match(place, c.where) for place in places)]


@pytest.mark.parametrize("network", NETWORKS)
def test_without_a_fault_each_network_holds(network):
    given = made(network)
    report = kp.check(given.torch_model, given.keras_model, given.images, given.labels, **given.words)
    report.raise_if_broken()


def test_two_faults_in_one_network_are_both_named_and_mended():
    names = "average for maximum", "gelu by tanh"
    report = run(*names)
    assert judged(report, names) == [(True, True), (True, True)], str(report)
    assert strangers(report, names) == []


@pytest.mark.slow
def test_nearly_every_fault_is_named_and_most_are_mended():
    rows = []
    for names in [*((name,) for name in FAULTS), *PAIRS]:
        report = run(*names)
        told, others = judged(report, names), strangers(report, names)
        rows.append((all(named for named, _ in told), all(mended for _, mended in told), others))
        marks = f"{'named' if rows[-1][0] else 'MISSED':6} {'mended' if rows[-1][1] else '-':6}"
        print(f"{marks} {' and '.join(names)}" + (f"; accused, too: {', '.join(others)}" if others else ""), flush=True)
    named, mended = (sum(row[place] for row in rows) for place in (0, 1))
    print(f"{len(rows)} cases: {named} named, {mended} mended, {sum(not row[2] for row in rows)} without a stranger")
    assert named >= 0.95 * len(rows)
    assert mended >= 0.75 * len(rows)
