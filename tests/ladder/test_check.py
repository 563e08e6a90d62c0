"""``check`` holds for what others ported right, and names what is wrong in what they did not."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import keras_parity as kp
from cnn_mnist.errors import UserError

L = keras.layers
SIZE, CLASSES = 12, 10
generator = np.random.default_rng(0)
IMAGES = generator.random((48, SIZE, SIZE, 1), dtype=np.float32)
LABELS = generator.integers(0, CLASSES, 48)
QUICK = {"batch_size": 16, "steps": 6}


class Functional(nn.Module):
    """Conv, batch norm, ReLU as a function, flatten as a method."""

    def __init__(self, **norm):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3)
        self.bn1 = nn.BatchNorm2d(8, **{"eps": 1e-3, "momentum": 0.01} | norm)
        self.out = nn.Linear(10 * 10 * 8, CLASSES)

    def forward(self, images):
        """Images [batch, 1, 12, 12]."""
        return self.out(F.relu(self.bn1(self.conv1(images))).flatten(1))


def functional_twin() -> keras.Model:
    """What ``Functional`` is in Keras, with other names."""
    return keras.Sequential(
        [keras.Input((SIZE, SIZE, 1)), L.Conv2D(8, 3), L.BatchNormalization(), L.ReLU(), L.Flatten(), L.Dense(CLASSES)]
    )


def plain(*extra: nn.Module, keras_extra: tuple[keras.Layer, ...] = ()) -> tuple[nn.Module, keras.Model]:
    """Flatten, hidden, what else there is, out."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 32), *extra, nn.Linear(32, CLASSES))
    layers = [L.Flatten(), L.Dense(32, name="hidden"), *keras_extra, L.Dense(CLASSES, name="out")]
    return network, keras.Sequential([keras.Input((SIZE, SIZE, 1)), *layers])


class Subclassed(keras.Model):
    """``plain`` as a class."""

    def __init__(self):
        super().__init__()
        self.flat, self.hidden, self.out = L.Flatten(), L.Dense(32), L.Dense(CLASSES)

    def call(self, images):
        """Images [batch, 12, 12, 1]."""
        return self.out(self.hidden(self.flat(images)))


def fused_names() -> tuple[nn.Module, keras.Model]:
    """An activation inside the layer on one side and a function on the other."""
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(800, CLASSES))
    layers = [L.Conv2D(8, 3, activation="relu"), L.Flatten(), L.Dense(CLASSES, activation="softmax")]
    return network, keras.Sequential([keras.Input((SIZE, SIZE, 1)), *layers])


class Strided(nn.Module):
    """A residual block of torchvision's form, whose shortcut takes what its first convolution pads."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, 2, 1, bias=False), nn.Conv2d(4, 4, 3, 1, 1, bias=False)
        self.shortcut, self.out = nn.Conv2d(1, 4, 1, 2, bias=False), nn.Linear(4, CLASSES)

    def forward(self, images):
        """Images [batch, 1, 12, 12]."""
        block = F.relu(self.conv2(F.relu(self.conv1(images))) + self.shortcut(images))
        return self.out(F.max_pool2d(block, 3, 2, 1).mean((2, 3)))


def strided_twin() -> keras.Model:
    """``Strided`` in Keras, with layers that pad."""
    given = keras.Input((SIZE, SIZE, 1))
    block = L.ReLU()(L.Conv2D(4, 3, 2, use_bias=False)(L.ZeroPadding2D(1)(given)))
    block = L.Conv2D(4, 3, use_bias=False)(L.ZeroPadding2D(1)(block))
    block = L.ReLU()(L.Add()([L.Conv2D(4, 1, 2, use_bias=False)(given), block]))
    pooled = L.MaxPooling2D(3, 2)(L.ZeroPadding2D(1)(block))
    return keras.Model(given, L.Dense(CLASSES)(L.GlobalAveragePooling2D()(pooled)))


PORTS = {
    "shortcut beside a padding": lambda: (Strided(), strided_twin()),
    "batch norm": lambda: (Functional(), functional_twin()),
    "in evaluation mode": lambda: (Functional().eval(), functional_twin()),
    "dropout": lambda: plain(nn.Dropout(0.5), keras_extra=(L.Dropout(0.5),)),
    "softmax on one side": fused_names,
    "lambda": lambda: (plain()[0], keras.Sequential([L.Lambda(lambda x: x * 1.0), plain()[1]])),
    "subclassed": lambda: (plain()[0], Subclassed()),
    "batch norm of features": lambda: plain(nn.BatchNorm1d(32, 1e-3, 0.01), keras_extra=(L.BatchNormalization(),)),
}  # fmt: skip


@pytest.mark.parametrize("make", PORTS.values(), ids=PORTS)
def test_a_port_that_is_right_holds_to_the_top(make):
    network, model = make()
    before = [{n: t.clone() for n, t in network.state_dict().items()}, network.training]
    report = kp.check(network, model, IMAGES, LABELS, weights="keras", **QUICK)
    report.raise_if_broken()
    assert report.rungs[-1].number == 11
    assert all(torch.equal(before[0][name], tensor) for name, tensor in network.state_dict().items())
    assert (network.training, keras.config.floatx()) == (before[1], "float32")


def test_both_layers_frozen_hold_and_one_breaks_rung_6():
    network, model = plain()
    model.get_layer("hidden").trainable = False
    report = kp.check(network, model, IMAGES, LABELS, weights="torch", **QUICK)
    assert [c.repairs[0].line for c in report.culprits] == [
        'keras_model.get_layer("hidden").trainable = True' for _ in ("weight", "bias")
    ]
    network[1].requires_grad_(False)
    kp.check(network, model, IMAGES, LABELS, weights="torch", **QUICK).raise_if_broken()


def test_a_number_of_labels_that_is_not_that_of_the_images_is_one_line():
    with pytest.raises(UserError, match=r"expected as many labels as images, and at least one, got \[47, 48\]"):
        kp.check(*plain(), IMAGES, LABELS[:-1])


def test_a_model_that_cannot_take_the_images_is_one_line():
    with pytest.raises(UserError, match=r"PyTorch's model cannot take inputs of \[\(1, 12, 12\)\]: "):
        kp.check(nn.Conv2d(3, 8, 3), plain()[1], IMAGES, LABELS)


def test_what_is_pasted_mends_it():
    network, model = Functional(eps=1e-5, momentum=0.99), functional_twin()
    report = kp.check(network, model, IMAGES, LABELS, weights="torch", **QUICK)
    assert report.to_paste == ["torch_model.bn1.eps = 0.001", "torch_model.bn1.momentum = 0.01"]
    for line in report.to_paste:
        exec(line, {"torch_model": network})
    kp.check(network, model, IMAGES, LABELS, weights="torch", **QUICK).raise_if_broken()


def test_only_what_is_wrong_by_itself_is_named():
    network, model = Functional(), functional_twin()
    network.conv1.padding = (1, 1)
    network.out = nn.Linear(12 * 12 * 8, CLASSES)
    report = kp.check(network, model, IMAGES, LABELS, weights="torch", **QUICK)
    assert report.rungs[0].holds is False
    assert [culprit.where for culprit in report.culprits if culprit.settings] == ["conv1"]
    assert "conv1.padding = (0, 0)" in str(report)
    assert not any("bn1" in culprit.where for culprit in report.culprits)


def test_weights_travel_both_ways_by_the_match():
    network, model = Functional(), functional_twin()
    match = kp.check(network, model, IMAGES, LABELS, numbers=[1], **QUICK).match
    match.copy_to_torch(model, network)
    kp.check(network, model, IMAGES, LABELS, numbers=[3, 4], **QUICK).raise_if_broken()
    other = functional_twin()
    kp.check(network, other, IMAGES, LABELS, numbers=[1], **QUICK).match.copy_to_keras(network, other)
    assert np.array_equal(other.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))


PORT_FILE = """
import keras, numpy as np, torch
from torch import nn
def torch_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
def keras_model():
    return keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
def data():
    return np.random.default_rng(0).random((8, 4, 4, 1), dtype=np.float32), np.arange(8) % 3
def torch_optimizer(params):
    return torch.optim.SGD(params, 0.1)
def keras_optimizer():
    return keras.optimizers.SGD(0.1)
"""


def test_the_command_checks_the_models_of_a_file(command, tmp_path):
    (tmp_path / "port.py").write_text(PORT_FILE + 'def weights():\n    return "torch"\n')
    code, out, err = command("keras_parity", "ladder", "--port=port.py", "--steps=4", "--output=report.html")
    assert (code, err) == (0, "")
    assert "the same computation: rungs 1 to 11 hold" in out
    assert "<pre>" in (tmp_path / "report.html").read_text()
    (tmp_path / "port.py").write_text(PORT_FILE)
    code, out, err = command("keras_parity", "ladder", "--port=port.py", "--steps=4", "--output=report.json")
    assert code == 1
    assert "rung 3 breaks" in err
    assert json.loads(Path(tmp_path / "report.json").read_text())[2]["holds"] is False


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def data():\n    return 1\n", "expected torch_model(), keras_model() and data(), torch_model() is missing"),
        ("import no_such_package\n", "port.py ends in ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(command, tmp_path, text, message):
    (tmp_path / "port.py").write_text(text)
    code, out, err = command("keras_parity", "ladder", "--port=port.py")
    assert (code > 0, out, err.count("\n")) == (True, "", 1)
    assert message in err


def test_schedules_are_compared_step_by_step_and_the_models_by_keras_rates():
    cosine = lambda steps: keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, steps))  # noqa: E731
    words = {
        "torch_optimizer": lambda params: torch.optim.SGD(params, 0.1),
        "torch_schedule": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6),
    }
    kp.check(
        *plain(), IMAGES, LABELS, weights="keras", keras_optimizer=lambda: cosine(6), **words, **QUICK
    ).raise_if_broken()
    report = kp.check(*plain(), IMAGES, LABELS, weights="keras", keras_optimizer=lambda: cosine(12), **words, **QUICK)
    (broken,) = [rung for rung in report.rungs if not rung.holds]
    assert broken.compared == "learning rate of 6 steps, relative"
    assert broken.where == "step 2: 0.0933013 in PyTorch, 0.0982963 in Keras"
    holding = {"keras_optimizer": lambda: cosine(6), "numbers": [9]}  # without the rung that compares the rates
    kp.check(*plain(), IMAGES, LABELS, weights="keras", **words, **holding, **QUICK).raise_if_broken()
    frozen, model = plain()
    frozen[1].requires_grad_(False)
    model.get_layer("hidden").trainable = False
    given = words | {"torch_optimizer": torch.optim.SGD([p for p in frozen.parameters() if p.requires_grad], 0.1)}
    kp.check(frozen, model, IMAGES, LABELS, weights="keras", **given, **holding, **QUICK).raise_if_broken()
    words.pop("torch_schedule")
    report = kp.check(*plain(), IMAGES, LABELS, weights="keras", keras_optimizer=lambda: cosine(6), **words, **QUICK)
    assert [rung.where[:6] for rung in report.rungs if not rung.holds] == ["step 2"]
