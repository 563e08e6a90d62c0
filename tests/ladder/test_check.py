"""``check`` accepts right ports and names the faults of wrong ones."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import nn

import keras_parity as kp
from cnn_mnist.errors import UserError
from keras_parity.ladder.judge.judge import JUMP_DRAWS, Judge
from keras_parity.ladder.judge.runs import Runs
from keras_parity.ladder.report import BrokenError

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
    """``Functional`` in Keras, with other names."""
    return keras.Sequential(
        [keras.Input((SIZE, SIZE, 1)), L.Conv2D(8, 3), L.BatchNormalization(), L.ReLU(), L.Flatten(), L.Dense(CLASSES)]
    )


def plain(*extra: nn.Module, keras_extra: tuple[keras.Layer, ...] = ()) -> tuple[nn.Module, keras.Model]:
    """Flatten, a hidden layer, extra layers, a dense layer."""
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
    """An activation inside the layer on one side and as a function on the other."""
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(800, CLASSES))
    layers = [L.Conv2D(8, 3, activation="relu"), L.Flatten(), L.Dense(CLASSES, activation="softmax")]
    return network, keras.Sequential([keras.Input((SIZE, SIZE, 1)), *layers])


class Strided(nn.Module):
    """A residual block like torchvision's; its first convolution pads, its shortcut does not."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, 2, 1, bias=False), nn.Conv2d(4, 4, 3, 1, 1, bias=False)
        self.shortcut, self.out = nn.Conv2d(1, 4, 1, 2, bias=False), nn.Linear(4, CLASSES)

    def forward(self, images):
        """Images [batch, 1, 12, 12]."""
        block = F.relu(self.conv2(F.relu(self.conv1(images))) + self.shortcut(images))
        return self.out(F.max_pool2d(block, 3, 2, 1).mean((2, 3)))


def strided_twin() -> keras.Model:
    """``Strided`` in Keras, with padding layers."""
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
    "lambda": lambda: (plain()[0], keras.Sequential([L.Lambda(lambda x: x * 1.0), plain()[1]])),
    "subclassed": lambda: (plain()[0], Subclassed()),
    "batch norm of features": lambda: plain(nn.BatchNorm1d(32, 1e-3, 0.01), keras_extra=(L.BatchNormalization(),)),
}  # fmt: skip


@pytest.mark.parametrize("make", PORTS.values(), ids=PORTS)
def test_a_port_that_is_right_is_the_same_function_and_trains_the_same(make):
    network, model = make()
    before = [{n: t.clone() for n, t in network.state_dict().items()}, network.training, model.get_weights()]
    report = kp.check(network, model, IMAGES, LABELS, weights="keras", **QUICK)
    report.raise_if_broken()
    assert (report.same_function, report.same_training, report.exit_code) == (True, True, 0)
    assert [each.step for each in report.comparisons] == [0, 1, 5, 6]
    assert all(torch.equal(before[0][name], tensor) for name, tensor in network.state_dict().items())
    assert all(np.array_equal(old, new) for old, new in zip(before[2], model.get_weights(), strict=False))
    assert (network.training, keras.config.floatx(), model.compiled) == (before[1], "float32", False)


def test_a_softmax_that_one_side_leaves_to_its_loss_is_another_function_and_named():
    network, model = fused_names()
    kp.check(network, model, IMAGES).match.copy_to_torch(model, network)
    report = kp.check(network, model, IMAGES, LABELS, **QUICK)
    assert report.verdict.startswith("not the same function: the outputs differ by ")
    (finding,) = report.findings
    assert (finding.where, finding.what) == (
        "the output",
        "PyTorch returns logits, Keras probabilities: PyTorch leaves the softmax to its loss",
    )
    assert report.to_paste == ["torch_model = nn.Sequential(torch_model, nn.Softmax(1))"]
    assert "after pasting: same function, same training" in str(report)


def test_without_labels_the_functions_alone_are_judged():
    report = kp.check(*plain(), IMAGES, weights="torch")
    report.raise_if_broken(training=False)
    with pytest.raises(BrokenError, match="not decided: same function, but the trainings were not compared"):
        report.raise_if_broken()
    assert (report.same_function, report.same_training, report.exit_code) == (True, None, 2)


def test_an_optimizer_that_one_side_lacks_is_asked_for():
    network, model = plain()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    report = kp.check(network, model, IMAGES, LABELS, weights="keras", **QUICK)
    assert report.verdict == (
        "not decided: same function, but the trainings were not compared: torch_optimizer is missing; pass "
        "torch_optimizer="
    )


def test_a_compiled_model_brings_its_training_and_keeps_it():
    network, model = plain()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, 0.9), loss, metrics=["acc"])
    optimizer = model.optimizer
    given = torch.optim.SGD(network.parameters(), 0.1, 0.9)
    report = kp.check(network, model, IMAGES, LABELS, weights="torch", torch_optimizer=given, **QUICK)
    report.raise_if_broken()
    assert (model.optimizer, model.compiled, optimizer.built, given.state) == (optimizer, True, False, {})
    model.fit(IMAGES, LABELS, verbose=0)


class Lit(LightningModule):
    """``plain`` with its training."""

    def __init__(self, momentum):
        super().__init__()
        self.network, self.momentum = plain()[0], momentum

    def forward(self, images):
        """Images [batch, 1, 12, 12]."""
        return self.network(images)

    def training_step(self, batch, place):
        """Cross-entropy."""
        return F.cross_entropy(self(batch[0]), batch[1])

    def configure_optimizers(self):
        """SGD that is halved after each epoch."""
        optimizer = torch.optim.SGD(self.parameters(), 0.1, self.momentum)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]


@pytest.mark.parametrize(("momentum", "same"), [(0.0, True), (0.9, False)])
def test_a_lightning_module_brings_its_training(momentum, same):
    model = plain()[1]
    rate = keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5, staircase=True)
    model.compile(keras.optimizers.SGD(rate), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    report = kp.check(Lit(momentum), model, IMAGES, LABELS, weights="keras", **QUICK)
    assert (report.same_function, report.same_training) == (True, same), report


def test_a_lightning_module_with_two_optimizers_is_one_line():
    module = Lit(0.0)
    optimizer = torch.optim.SGD(module.parameters(), 0.1)
    module.configure_optimizers = lambda: [optimizer, optimizer]
    with pytest.raises(UserError, match=r"with one optimizer and automatic .* got 2 optimizers .*; pass torch_step="):
        kp.check(module, plain()[1], IMAGES, LABELS, keras_optimizer="sgd", **QUICK)


def test_a_users_own_step_is_restored_with_its_optimizer_and_may_not_keep_state():
    network, model = plain()
    optimizer = torch.optim.SGD(network.parameters(), 0.1, 0.9)
    calls = []

    def step(images, labels):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        loss.backward()
        nn.utils.clip_grad_value_(network.parameters(), 0.01)
        optimizer.step()
        return loss

    def forgetful(images, labels):
        calls.append(1)
        return step(images * len(calls), labels)

    words = {"weights": "keras", "keras_optimizer": keras.optimizers.SGD(0.1, 0.9, clipvalue=0.01), **QUICK}
    kp.check(network, model, IMAGES, LABELS, torch_step=step, torch_optimizer=optimizer, **words).raise_if_broken()
    kp.check(network, model, IMAGES, LABELS, torch_step=step, **words).raise_if_broken()  # found in the closure
    report = kp.check(network, model, IMAGES, LABELS, torch_step=forgetful, **words)
    assert report.verdict.startswith("not decided: same function, but PyTorch's first step is not repeatable")


def test_a_loss_with_a_constant_in_float32_is_judged_in_float32(never_settled):
    weight = torch.tensor([1.0, 2.0] * 5)
    words = {"torch_loss": lambda o, y: F.cross_entropy(o, y, weight=weight, reduction="sum") / len(y)}
    words["keras_loss"] = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    words["class_weight"] = {place: 1.0 + place % 2 for place in range(CLASSES)}
    report = kp.check(*plain(), IMAGES, LABELS, weights="keras", **words, **QUICK)
    report.raise_if_broken()
    assert "training compared in float32 only: in float64, PyTorch's training step fails with RuntimeError" in " ".join(
        report.notes
    )


def test_nothing_moves_is_not_the_same_training():
    words = {"torch_optimizer": lambda p: torch.optim.SGD(p, 0.0), "keras_optimizer": keras.optimizers.SGD(0.0)}
    report = kp.check(*plain(), IMAGES, LABELS, weights="keras", **words, **QUICK)
    assert (report.same_training, report.exit_code) == (None, 2)
    assert "no step moved the outputs" in report.verdict


def test_nan_is_never_the_same():
    network, model = plain()
    kp.check(network, model, IMAGES).match.copy_to_torch(model, network)
    with torch.no_grad():
        network[1].bias[0] = torch.nan
    assert kp.check(network, model, IMAGES).same_function in (False, None)
    kernel, bias = model.get_layer("hidden").get_weights()
    model.get_layer("hidden").set_weights([kernel, np.where(np.arange(32) == 0, np.nan, bias)])
    assert kp.check(network, model, IMAGES).same_function is None


def test_both_layers_frozen_are_the_same_and_one_is_named():
    network, model = plain()
    model.get_layer("hidden").trainable = False
    report = kp.check(network, model, IMAGES, LABELS, weights="torch", **QUICK)
    assert (report.same_function, report.differs_from) == (True, 1)
    assert [finding.where for finding in report.findings] == ["1.weight"]
    assert report.to_paste == ['keras_model.get_layer("hidden").trainable = True']
    network[1].requires_grad_(False)
    kp.check(network, model, IMAGES, LABELS, weights="torch", **QUICK).raise_if_broken()


def test_a_number_of_labels_that_is_not_that_of_the_images_is_one_line():
    with pytest.raises(UserError, match=r"expected as many labels as images, at least 1, got \[47, 48\] samples"):
        kp.check(*plain(), IMAGES, LABELS[:-1])


def test_a_model_that_cannot_take_the_images_is_one_line():
    with pytest.raises(UserError, match=r"PyTorch's model cannot take inputs of \[\(1, 12, 12\)\]: "):
        kp.check(nn.Conv2d(3, 8, 3), plain()[1], IMAGES, LABELS)
    with pytest.raises(
        UserError, match=r"Keras's model cannot take .*; pass images as Keras takes them, usually \[count"
    ):
        kp.check(
            plain()[0], strided_twin(), np.moveaxis(IMAGES, -1, 1), LABELS, torch_images=np.moveaxis(IMAGES, -1, 1)
        )


def test_models_that_are_exchanged_are_one_line():
    network, model = plain()
    with pytest.raises(UserError, match="got the two models swapped; exchange them"):
        kp.check(model, network, IMAGES, LABELS)


def test_what_is_pasted_mends_it():
    network, model = Functional(eps=1e-5, momentum=0.99), functional_twin()
    report = kp.check(network, model, IMAGES, LABELS, weights="torch", **QUICK)
    assert report.to_paste == ["torch_model.bn1.eps = 0.001", "torch_model.bn1.momentum = 0.01"]
    for line in report.to_paste:
        exec(line, {"torch_model": network})
    kp.check(network, model, IMAGES, LABELS, weights="torch", **QUICK).raise_if_broken()


def test_an_activation_is_named_on_both_sides():
    network, model = plain()
    model.get_layer("hidden").activation = keras.activations.gelu
    report = kp.check(network, model, IMAGES, LABELS, weights="torch", **QUICK)
    assert [(s.name, s.ours, s.theirs) for s in report.findings[0].settings] == [("activation", "linear", "gelu")]
    assert "activation     linear               gelu" in str(report)


def test_channels_first_images_are_asked_for_as_keras_takes_them():
    with pytest.raises(
        UserError,
        match=r"float images \[count, height, width, channels\], which are transposed for it; got float32 \[48, 1,",
    ):
        kp.check(Functional(), functional_twin(), np.moveaxis(IMAGES, -1, 1), LABELS)


def test_only_what_is_wrong_by_itself_is_named():
    network, model = Functional(), functional_twin()
    network.conv1.padding = (1, 1)
    network.out = nn.Linear(12 * 12 * 8, CLASSES)
    report = kp.check(network, model, IMAGES, LABELS, weights="torch", **QUICK)
    assert report.same_function is not True
    assert [finding.where for finding in report.findings if finding.settings] == ["conv1", "out"]
    assert not any("bn1" in finding.where for finding in report.findings)


def test_weights_travel_both_ways_by_the_match():
    network, model = Functional(), functional_twin()
    kp.check(network, model, IMAGES).match.copy_to_torch(model, network)
    kp.check(network, model, IMAGES).raise_if_broken(training=False)
    other = functional_twin()
    kp.check(network, other, IMAGES).match.copy_to_keras(network, other)
    assert np.array_equal(other.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))


def test_a_report_in_json_is_valid_and_has_everything(tmp_path):
    network, model = Functional(eps=1e-5), functional_twin()
    report = kp.check(network, model, IMAGES, LABELS, weights="torch", **QUICK)
    report.write(tmp_path / "report.json")
    data = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert (data["verdict"], data["same_function"], data["to_paste"]) == (report.verdict, False, report.to_paste)
    assert [finding["where"] for finding in data["findings"]] == ["bn1"]
    assert data["match"][0] == ["conv1", "conv2d", "Conv2D", "8x1x3x3"] or len(data["match"]) == 3


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
    assert out.startswith("same function, same training: the outputs differ by ")
    assert "<pre>" in (tmp_path / "report.html").read_text()
    (tmp_path / "port.py").write_text(PORT_FILE)
    code, out, err = command("keras_parity", "ladder", "--port=port.py", "--steps=4", "--output=report.json")
    assert code == 1
    assert "not the same function" in err
    assert json.loads(Path(tmp_path / "report.json").read_text())["same_function"] is False
    (tmp_path / "port.py").write_text(PORT_FILE.replace("def torch_optimizer", "def unused"))
    code, out, err = command("keras_parity", "ladder", "--port=port.py", "--steps=4")
    assert code == 1  # "not the same function" takes precedence over "not decided"


def test_a_flag_that_has_no_use_with_a_port_is_refused(command, tmp_path):
    (tmp_path / "port.py").write_text(PORT_FILE)
    code, out, err = command("keras_parity", "ladder", "--port=port.py", "--model.architecture=conv5x5")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "--port: expected no flags but --port, --steps, --output, got --model.architecture=conv5x5; remove it" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def data():\n    return 1\n", "expected functions torch_model, keras_model and data, torch_model is missing"),
        ("import no_such_package\n", "port.py raises ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(command, tmp_path, text, message):
    (tmp_path / "port.py").write_text(text)
    code, out, err = command("keras_parity", "ladder", "--port=port.py")
    assert (code > 0, out, err.count("\n")) == (True, "", 1)
    assert message in err


def test_schedules_are_compared_by_what_they_do_and_named():
    cosine = lambda steps: keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, steps))  # noqa: E731
    words = {
        "torch_optimizer": lambda params: torch.optim.SGD(params, 0.1),
        "torch_schedule": lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6),
        "weights": "keras",
        **QUICK,
    }
    kp.check(*plain(), IMAGES, LABELS, keras_optimizer=lambda: cosine(6), **words).raise_if_broken()
    network, model = plain()
    report = kp.check(network, model, IMAGES, LABELS, keras_optimizer=lambda: cosine(12), **words)
    assert (report.same_function, report.differs_from) == (True, 5)
    (finding,) = report.findings
    assert (finding.where, finding.what) == (
        "the schedule",
        "learning rate at step 2: 0.0933013 in PyTorch, 0.0982963 in Keras",
    )
    space = {"torch": torch, "keras": keras}
    exec(finding.fixes[0].line, space)
    again = words | {"torch_schedule": space["torch_schedule"]}
    kp.check(network, model, IMAGES, LABELS, keras_optimizer=lambda: cosine(12), **again).raise_if_broken()


def test_images_of_one_channel_reach_pytorch_with_strides_that_view_takes():
    class Viewed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.out = nn.Conv2d(1, 4, 3), nn.Linear(400, CLASSES)

        def forward(self, images):
            return self.out(self.conv(images).view(-1, 400))

    model = keras.Sequential([keras.Input((SIZE, SIZE, 1)), L.Conv2D(4, 3), L.Flatten(), L.Dense(CLASSES)])
    assert kp.check(Viewed(), model, IMAGES, weights="keras").same_function


def test_a_setting_of_all_norms_of_a_network_is_tried_once_for_all(monkeypatch):
    """Trying each alone would take hours in a deep network, and one alone improves too little to be accepted."""
    runs = []
    monkeypatch.setattr(Judge, "rejudge", lambda *args: runs.append(args) or rejudge(*args))
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIZE * SIZE, 8), *(nn.BatchNorm1d(8, eps=1e-3) for _ in range(14)))
    layers = [L.Flatten(), L.Dense(8), *(L.BatchNormalization() for _ in range(14))]
    model = keras.Sequential([keras.Input((SIZE, SIZE, 1)), *layers])
    optimizers = {"torch_optimizer": lambda p: torch.optim.SGD(p, 0.05), "keras_optimizer": keras.optimizers.SGD(0.05)}
    report = kp.check(network, model, IMAGES, LABELS % 8, weights="keras", **QUICK, **optimizers)
    assert (report.same_function, report.same_training) == (True, False)
    assert sorted(report.to_paste) == sorted(f"torch_model[{place}].momentum = 0.01" for place in range(2, 16))
    assert "after pasting: same function, same training" in str(report)
    assert len(runs) < 10


rejudge = Judge.rejudge


class Bare(nn.Module):
    """Neither rescales nor normalizes its images, averages over the zeros of a padding, and has a scale and no bias."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4, eps=1e-3, momentum=0.01)
        self.conv2, self.out = nn.Conv2d(4, 4, 3), nn.Linear(4, CLASSES)

    def forward(self, images):
        """Images [batch, 1, 12, 12]."""
        return self.out(self.conv2(F.avg_pool2d(F.relu(self.bn1(self.conv1(images))), 3, 1, 1)).mean((2, 3)))


def test_what_only_one_side_has_is_looked_through_and_frozen():
    layers = [
        *(L.Rescaling(1 / 255, name="rescaling"), L.Normalization(), L.Conv2D(4, 3, padding="same", name="conv1")),
        *(L.BatchNormalization(scale=False), L.ReLU(), L.AveragePooling2D(3, 1, "same", name="pool"), L.Conv2D(4, 3)),
        *(L.GlobalAveragePooling2D(), L.Dense(CLASSES)),
    ]
    model = keras.Sequential([keras.Input((SIZE, SIZE, 1)), *layers])
    report = kp.check(Bare(), model, IMAGES * 255, LABELS, weights="torch", **QUICK)
    assert "not copied, because no layer matches: bn1.weight (PyTorch)" in report.verdict
    scale, pool, weight = report.to_paste
    assert scale == 'keras_model.get_layer("rescaling").scale = 1.0'
    assert pool.startswith('keras_model.get_layer("pool").call = lambda x: keras.ops.average_pool(')
    assert weight == "torch_model.bn1.weight.requires_grad_(False)"
    assert "after pasting: same function, same training up to step 6" in report.notes


@pytest.mark.parametrize("frozen", [True, False])
def test_a_single_weight_that_is_frozen_is_frozen_in_the_float64_copy_too(frozen, never_settled):
    torch_model, model = plain()
    model.get_layer("hidden").bias.trainable = False
    torch_model[1].bias.requires_grad_(not frozen)
    report = kp.check(torch_model, model, IMAGES, LABELS, weights="keras", **QUICK)
    assert (report.same_function, report.same_training) == (True, frozen)
    assert [each.precision for each in report.comparisons] == ["float64"] * 4
    assert report.to_paste == ([] if frozen else ["torch_model[1].bias.requires_grad_(False)"])


class Branches(nn.Module):
    """Two branches, one of which averages over the zeros of a padding."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.pooled = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.Conv2d(1, 4, 1)
        self.out = nn.Linear(8, CLASSES)

    def forward(self, images):
        """Images [batch, 1, 12, 12]."""
        pooled = self.pooled(F.avg_pool2d(images, 3, 1, 1))
        return self.out(torch.cat([self.two(F.relu(self.one(images))), pooled], 1).mean((2, 3)))


def test_a_layer_is_named_in_its_own_branch_whatever_runs_first():
    images = keras.Input((SIZE, SIZE, 1))
    average = L.AveragePooling2D(3, 1, "same", name="average")(images)  # Keras runs the other branch before pooled
    one = L.Conv2D(4, 3, padding="same", activation="relu", name="one")(images)
    joined = L.Concatenate()([L.Conv2D(4, 1, name="two")(one), L.Conv2D(4, 1, name="pooled")(average)])
    model = keras.Model(images, L.Dense(CLASSES, name="out")(L.GlobalAveragePooling2D()(joined)))
    report = kp.check(Branches(), model, IMAGES, LABELS, weights="keras", **QUICK)
    (finding,) = report.findings
    assert finding.where == "the input to pooled (average)"
    assert report.to_paste[0].startswith('keras_model.get_layer("average").call = ')
    assert report.notes[-1].startswith("after pasting: same function, same training")


def test_a_call_that_was_replaced_is_replaced_in_the_float64_copy_too(never_settled):
    torch_model, model = plain(nn.ReLU(), keras_extra=(L.ReLU(name="act"),))
    model.get_layer("act").call = lambda x: keras.activations.elu(x)
    torch_model[2] = nn.ELU()
    report = kp.check(torch_model, model, IMAGES, LABELS, weights="keras", **QUICK)
    assert (report.same_function, report.same_training) == (True, True)
    assert [each.precision for each in report.comparisons] == ["float64"] * 4


@pytest.mark.parametrize(("shown_by_draw", "same"), [(5, True), (None, False)])
def test_rounding_that_makes_a_gradient_jump_is_looked_for_in_more_runs_than_two(monkeypatch, shown_by_draw, same):
    """Under Adam the bias before a batch norm follows rounding alone, and in some runs only (``depthwise``)."""
    draws = []

    def jumping(runs, side, precision, steps, seed=None, ulps=1):
        trained = train(runs, side, precision, steps, seed, ulps)
        if side.framework == "PyTorch" and precision == "float32":
            draws.extend([seed] * (ulps > 1))
            if ulps == 1 or len(draws) != shown_by_draw:
                return {step: [array * (1 + 5e-5 * (step > 1)) for array in arrays] for step, arrays in trained.items()}
        return trained

    train = Runs.train
    monkeypatch.setattr(Runs, "train", jumping)
    keras.utils.set_random_seed(0)  # other weights may be next to a kink of their own
    report = kp.check(Functional(), functional_twin(), IMAGES, LABELS, weights="keras", **QUICK)
    assert report.same_training is same
    assert len(set(draws)) == len(draws) == (shown_by_draw or JUMP_DRAWS)


def test_float64_and_noise_are_run_only_if_they_can_change_the_verdict_of_a_training(monkeypatch):
    def verdict():
        seeds.clear()
        report = kp.check(*models, IMAGES, LABELS, weights="keras", **QUICK)
        return [(each.step, each.same, each.precision) for each in report.comparisons]

    def seen(runs, side, precision, steps, seed=None, ulps=1):
        seeds.append((precision, seed))
        return train(runs, side, precision, steps, seed, ulps)

    models, seeds, train = plain(nn.ReLU(), keras_extra=(L.ReLU(),)), [], Runs.train
    monkeypatch.setattr(Runs, "train", seen)
    assert all(same for _, same, _ in verdict())
    assert seeds == [("float32", None), ("float32", None)]
    monkeypatch.setattr(Judge, "_is_settled", lambda _, trained: "float64" in trained)
    assert verdict() == [(step, True, "float64") for step in (0, 1, 5, 6)]
    assert seeds[2:] == [("float64", None), ("float64", None)]
    monkeypatch.setattr(Judge, "_is_settled", lambda *_: False)
    assert verdict() == [(step, True, "float64") for step in (0, 1, 5, 6)]
    assert sorted(seeds[4:]) == sorted(
        (precision, seed) for precision in ("float32", "float64") for seed in (0, 0, 1, 1)
    )


class Probabilities(nn.Module):
    """A layer norm in front of logits, which a loss turns into probabilities."""

    def __init__(self, eps):
        super().__init__()
        self.hidden, self.norm, self.out = nn.Linear(8, 6), nn.LayerNorm(6, eps=eps), nn.Linear(6, 3)

    def forward(self, images):
        """Inputs [batch, 8]."""
        return self.out(self.norm(0.01 * self.hidden(images)))


def test_what_differs_besides_the_form_of_the_output_is_named_once_and_the_loss_by_its_value():
    keras.utils.set_random_seed(0)
    generator = np.random.default_rng(1)
    inputs, labels = generator.random((48, 8), np.float32), generator.integers(0, 3, 48)
    network = Probabilities(eps=1e-4)
    layers = [L.Dense(6), L.Rescaling(0.01), L.LayerNormalization(epsilon=1e-6), L.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input((8,)), *layers])
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    kp.check(network, model, inputs).match.copy_to_torch(model, network)
    words = {"torch_loss": F.cross_entropy, "torch_optimizer": torch.optim.SGD(network.parameters(), 0.1)}
    report = kp.check(network, model, inputs, labels, **words, **QUICK)
    assert [finding.where for finding in report.findings] == ["the output", "0.norm", "the loss"]
    assert all(finding.fixes for finding in report.findings)
    assert "nn.functional.cross_entropy(logits, labels) = " in report.findings[2].what
    assert "after pasting: same function, same training" in str(report)


class Cropped(nn.Module):
    """A pool that is padded elsewhere than Keras's, and a transposed convolution whose output is cropped."""

    def __init__(self):
        super().__init__()
        self.conv, self.up, self.out = nn.Conv2d(1, 4, 1), nn.ConvTranspose2d(4, 4, 3, 2), nn.Conv2d(4, 1, 1)

    def forward(self, images):
        """Images [batch, 1, 12, 12]."""
        return self.out(self.up(F.max_pool2d(self.conv(images), 3, 2, 1))[..., :-1, :-1])


def test_a_layer_whose_output_is_cropped_afterwards_is_not_accused():
    network, layers = Cropped(), [L.Conv2D(4, 1, name="conv"), L.MaxPooling2D(3, 2, padding="same", name="pool")]
    layers += [L.Conv2DTranspose(4, 3, 2, padding="same"), L.Conv2D(1, 1)]
    model = keras.Sequential([keras.Input((SIZE, SIZE, 1)), *layers])
    report = kp.check(network, model, IMAGES, weights="keras")
    assert report.same_function is False
    assert [finding.where for finding in report.findings] == ["conv to up (pool)"]


def test_nan_in_the_inputs_is_said_and_makes_no_layer_random():
    network, model = plain()
    report = kp.check(network, model, np.full_like(IMAGES, np.nan), LABELS, weights="keras", **QUICK)
    assert report.verdict == "not decided: NaN in the inputs"
    assert "random layers" not in str(report)
