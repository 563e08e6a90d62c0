"""The ladder holds for equal models, and breaks at the right rung with the right name for others."""

import copy
import json
from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from torch import nn

from cnn_mnist.architecture.examples import EXAMPLES
from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.pytorch.keras_optimizers import KerasRMSprop
from cnn_mnist.pytorch.network import load_weights
from cnn_mnist.settings import DataSettings, ModelSettings, setting
from keras_parity.ladder import cli as ladder
from keras_parity.ladder.cli import Port, climb, climb_all, project_port
from keras_parity.ladder.rungs import trajectories
from keras_parity.ladder.rungs.comparison import Comparison
from keras_parity.ladder.rungs.keras_side import KerasSide
from keras_parity.ladder.rungs.rung import align_ties, compare_tensors
from keras_parity.ladder.rungs.rungs import rungs
from keras_parity.ladder.rungs.trajectories import Steps, free_float64
from tests.pytorch.test_optimizers import VARIANTS

pytestmark = pytest.mark.usefixtures("use_tiny_mnist")

CONV5X5 = EXAMPLES["conv5x5"]
FEW = Steps(synced=6, free=12, draws=2)


@pytest.fixture
def port(use_tiny_mnist) -> Port:
    return project_port(ModelSettings(architecture="conv5x5"), DataSettings(batch_size=25))


def test_the_projects_own_port_climbs_all_eleven_rungs(port):
    climbed = list(climb(port, FEW))
    assert all(rung.holds for rung in climbed), climbed[-1]
    assert [rung.number for rung in climbed] == [1, 2, 3, 4, 5, 6, 6, 6, 7, 7, 8, 9, 9, 10, 11]


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_every_optimizer_passes_rungs_7_to_9(use_tiny_mnist, settings):
    port = project_port(ModelSettings(architecture="conv5x5", **settings), DataSettings(batch_size=25))
    climbed = list(rungs(Comparison(port), FEW, (7, 8, 9)))
    assert {rung.number for rung in climbed} == {7, 8, 9}
    assert all(rung.holds for rung in climbed), climbed[-1]


def test_rung_8_prints_the_limit_that_was_applied(port, monkeypatch):
    monkeypatch.setattr(trajectories, "LIMIT", 0.0)  # so that rounding alone exceeds it
    (rung,) = rungs(Comparison(port), FEW, (8,))
    assert rung.holds
    assert rung.difference < rung.limit


def test_two_trainings_that_never_diverge_are_not_said_to(port):
    (rung,) = rungs(Comparison(port), Steps(synced=1, free=2, draws=1), (10,))
    assert rung.where.startswith("did not diverge; one framework against itself did not diverge, largest")


def _first_break(port: Port):
    *below, last = climb(port, FEW)
    assert all(rung.holds for rung in below)
    assert not last.holds
    return last


def test_a_dropped_bias_breaks_rung_1(port):
    network = copy.deepcopy(port.network)
    network.conv1.bias = None
    rung = _first_break(replace(port, network=network))
    assert (rung.number, rung.where.split(":")[0]) == (1, "conv1")
    assert "800 parameters in PyTorch" in rung.where
    assert "a layer or bias on one side only" in rung.cause


def test_a_batch_order_shifted_by_one_breaks_rung_2(port):
    rung = _first_break(replace(port, keras_batches=[*port.keras_batches[1:], port.keras_batches[0]]))
    assert (rung.number, rung.where) == (2, "images of batch 0")
    assert "order of the batches" in rung.cause


def test_scaling_in_the_graph_breaks_rung_2(port):
    scale = tf.function(lambda images: tf.cast(images, tf.float32) / 255)
    batches = [(scale(np.round(i * 255).astype(np.uint8)).numpy(), labels) for i, labels in port.keras_batches]
    rung = _first_break(replace(port, keras_batches=batches))
    assert (rung.number, rung.where) == (2, "images of batch 0")
    assert "division inside tf.function" in rung.cause


def test_pytorchs_initial_weights_on_one_side_break_rung_3(port):
    network = copy.deepcopy(port.network)
    load_weights(network, initial_weights(CONV5X5, "pytorch", 0), CONV5X5)
    rung = _first_break(replace(port, network=network))
    assert (rung.number, rung.where) == (3, "conv1.weight")
    assert "Glorot instead of Kaiming" in rung.cause


def test_a_transposed_kernel_breaks_rung_3(port):
    network = copy.deepcopy(port.network)
    network.conv2.weight.data = network.conv2.weight.data.transpose(2, 3).contiguous()
    rung = _first_break(replace(port, network=network))
    assert (rung.number, rung.where) == (3, "conv2.weight")
    assert "a kernel that is not transposed" in rung.cause


def test_a_wrong_flatten_order_breaks_rung_3(port):
    network = copy.deepcopy(port.network)
    kernel = initial_weights(CONV5X5, "keras", 0)["dense1/kernel"]
    network.dense1.weight.data = torch.from_numpy(np.ascontiguousarray(kernel.T))
    rung = _first_break(replace(port, network=network))
    assert (rung.number, rung.where) == (3, "dense1.weight")
    assert "order of flatten" in rung.cause


def test_softmax_before_the_loss_breaks_rung_5(port):
    twice = lambda logits, labels: nn.functional.cross_entropy(logits.softmax(1), labels)  # noqa: E731
    rung = _first_break(replace(port, torch_loss=twice))
    assert (rung.number, rung.where) == (5, "loss")
    assert "softmax before a loss" in rung.cause


def test_a_frozen_layer_breaks_rung_6(port):
    network = copy.deepcopy(port.network)
    network.conv2.requires_grad_(False)
    rung = _first_break(replace(port, network=network))
    assert (rung.number, rung.where) == (6, "conv2.weight")
    assert "a frozen or detached layer" in rung.cause


def test_a_batch_that_one_side_drops_breaks_rung_2(port):
    rung = _first_break(replace(port, keras_batches=port.keras_batches[:-1]))
    assert (rung.number, rung.where) == (2, "10 batches in PyTorch, 9 in Keras")


def test_what_is_no_number_or_missing_on_a_side_never_holds():
    zeros, nan = {"a": np.zeros(2)}, {"a": np.full(2, np.nan)}
    for ours, theirs in ((zeros, nan), (nan, zeros), (nan, nan), (zeros, {}), ({}, zeros), ({}, {})):
        assert not compare_tensors(4, "", 1e-5, ours, theirs).holds
    assert compare_tensors(4, "", 1e-5, zeros, zeros).holds


def test_a_max_pool_may_choose_either_of_two_equal_values_and_no_other():
    values = np.array([[1.0, 1.0 - 1e-16, 2.0], [1.0, 0.0, 2.0]])
    ours, theirs = np.array([[0.5, 0.0, 0.1], [0.0, 0.3, 0.1]]), np.array([[0.0, 0.5, 0.1], [0.3, 0.0, 0.1]])
    settled = align_ties(ours, theirs, values, 1e-12)
    np.testing.assert_array_equal(settled, [theirs[0], ours[1]])
    np.testing.assert_array_equal(align_ties(ours, theirs * 2, values, 1e-12), ours)  # the sums differ


def test_arrays_of_nested_layers_are_told_apart(port):
    inner = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(4, name="dense")])
    model = keras.Sequential([keras.Input((28, 28, 1)), inner, keras.layers.Dense(10, name="dense")])
    shapes = {n: array.shape for n, array in KerasSide(replace(port, model=model), "float64").state().items()}
    assert sorted(shapes.values()) == [(4,), (4, 10), (10,), (784, 4)]
    assert {"dense/kernel", "dense/bias"} <= shapes.keys()


def test_epsilon_outside_the_root_breaks_rung_7(port):
    rung = _first_break(replace(port, torch_optimizer=lambda p: torch.optim.RMSprop(p, 1e-3, alpha=0.9, eps=1e-7)))
    assert rung.number == 7
    assert rung.where.split(".")[0] in ("conv1", "conv2", "dense1")
    assert "epsilon inside or outside the square root" in rung.cause


def test_coupled_weight_decay_breaks_rung_7(port):
    class Coupled(KerasRMSprop):
        def update(self, group, params, grads, slots):
            super().update(group, params, torch._foreach_add(grads, params, alpha=0.01), slots)

    decoupled = lambda: keras.optimizers.RMSprop(1e-3, 0.9, epsilon=1e-7, weight_decay=0.01)  # noqa: E731
    coupled = lambda params: Coupled(params, 1e-3, 0.9, 1e-7)  # noqa: E731
    rung = _first_break(replace(port, torch_optimizer=coupled, keras_optimizer=decoupled))
    assert rung.number == 7
    assert "coupled or decoupled weight decay" in rung.cause


def test_a_state_that_only_later_steps_show_breaks_rung_9(port):
    class Forgetful(KerasRMSprop):
        def update(self, group, params, grads, slots):
            if group["step"] == 5:
                torch._foreach_zero_(slots["velocity"])
            super().update(group, params, grads, slots)

    rung = _first_break(replace(port, torch_optimizer=lambda params: Forgetful(params, 1e-3, 0.9, 1e-7)))
    assert (rung.number, rung.where) == (9, "step 6")


def test_another_model_than_the_projects_climbs_too(port):
    network = nn.Sequential()
    network.add_module("flat", nn.Flatten())
    network.add_module("hidden", nn.Linear(784, 16))
    network.add_module("tanh", nn.Tanh())
    network.add_module("out", nn.Linear(16, 10))
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(name="flat"),
            keras.layers.Dense(16, name="hidden"),
            keras.layers.Activation("tanh", name="tanh"),
            keras.layers.Dense(10, name="out"),
        ]
    )
    for layer in ("hidden", "out"):
        kernel, bias = (torch.from_numpy(array) for array in model.get_layer(layer).get_weights())
        network.get_submodule(layer).load_state_dict({"weight": kernel.T.contiguous(), "bias": bias})
    rungs = list(climb(replace(port, network=network, model=model), FEW))
    assert all(rung.holds for rung in rungs), rungs[-1]
    assert rungs[-1].number == 11


@pytest.mark.parametrize("architecture", ["mnist_convnet", "batch_norm", "depthwise"])
def test_dropout_and_batch_norms_climb_to_the_top(architecture):
    report = climb_all(project_port(ModelSettings(architecture=architecture), DataSettings(batch_size=25)), FEW)
    assert report.holds, report
    assert report.rungs[-1].number == 11
    assert "dropout uses the same masks on both sides" in str(report) or architecture != "mnist_convnet"


def test_the_statistics_of_batch_norms_are_compared():
    port = project_port(ModelSettings(architecture="depthwise"), DataSettings(batch_size=25))
    port.network.batch_norm1.momentum = 0.1
    broken = [rung for rung in free_float64(Comparison(port), FEW) if not rung.holds]
    assert [rung.where for rung in broken] == ["batch_norm1.running_mean"]
    assert "moving statistics" in broken[0].compared


def test_the_command_prints_writes_and_draws(command, tmp_path):
    flags = ("--model.architecture=conv5x5", "--data.batch_size=25", "--model.optimizer=sgd", "--model.momentum=0.9")
    files = ("--steps=12", "--output=rungs.json", "--log_dir=logs")
    code, out, err = command("keras_parity", "ladder", *flags, *files)
    assert code == 0, err
    assert out.count(" holds ") == 15
    assert "the same computation: rungs 1 to 11 hold" in out
    assert out.endswith("wrote rungs.json\n")
    assert max(map(len, out.splitlines())) <= 80
    assert [rung["number"] for rung in json.loads((tmp_path / "rungs.json").read_text())["rungs"]][-1] == 11
    assert list((tmp_path / "logs/ladder").glob("*tfevents*"))


def test_the_command_exits_with_1_and_names_the_rung_that_breaks(command, monkeypatch):
    genuine = project_port

    def broken(model, data):
        return replace(genuine(model, data), torch_loss=lambda logits, labels: logits.sum())

    monkeypatch.setattr(ladder, "project_port", broken)
    flags = ("--model.architecture=conv5x5", "--data.batch_size=25", "--rungs=1-5")
    code, out, err = command("keras_parity", "ladder", *flags)
    assert code == 1
    assert "BREAKS" in out
    assert "rung 5 breaks (loss of the first batch, nats) at loss" in err


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--output=rungs.txt", "expected a .json or .md or .html file, got rungs.txt"),
        ("--rungs=0-3", "expected --rungs between 1 and 11, as 1-7 or 1,4,11, got 0-3"),
        ("--port=no_such.py", "expected a Python file, got no_such.py"),
        ("--output=no/such/rungs.md", "expected a folder that exists, got no/such"),
        ("--model.architecture=lenet", "unknown architecture 'lenet'"),
    ],
)
def test_a_mistake_is_one_line(command, flag, message):
    code, out, err = command("keras_parity", "ladder", flag)
    assert (code > 0, out) == (True, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_new_setting_is_a_flag_of_the_ladder_but_for_what_it_cannot_honour(monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class More(ModelSettings):
        of_a_step: float = setting("optimizer", 0.25)
        of_a_loss: float = setting("loss", 0.25)

    monkeypatch.setattr(ladder, "ModelSettings", More)
    flags = ladder.build_parser().format_help()
    assert "--model.of_a_step" in flags
    assert "--model.of_a_loss" not in flags
