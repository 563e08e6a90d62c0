"""``check`` judges a Keras model on whatever backend Keras runs."""

import pytest

PAIR = """
import numpy as np
import keras_parity as kp
import keras, torch
from cnn_mnist.architecture.examples import EXAMPLES
from cnn_mnist.pytorch.optimizers import make_optimizer
from cnn_mnist.settings import ModelSettings
from cnn_mnist.pytorch.network import build_network, load_weights
from keras_parity.ladder.cli import Port, climb_all
from keras_parity.ladder.rungs.trajectories import Steps
from keras_parity.twin import optimizers
from keras_parity.twin.network import build_twin, read_weights

generator = np.random.default_rng(0)
images, labels = generator.random((32, 28, 28, 1), np.float32), generator.integers(0, 10, 32)


def check(name, change=0.0, optimizer="adam", **words):
    network = EXAMPLES[name]
    module, model = build_network(network, seed=1), build_twin(network, seed=1)
    load_weights(module, read_weights(model, network), network)
    with torch.no_grad():
        next(module.parameters()).mul_(1 + change)
    model.compile(keras.optimizers.Adam(0.001), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    made = make_optimizer(module.parameters(), ModelSettings(optimizer=optimizer))
    return kp.check(module, model, images, labels, torch_optimizer=made, torch_loss=torch.nn.CrossEntropyLoss(),
        batch_size=16, steps=5, **words)


def ladder(name, change=0.0, model=None):
    network, settings = EXAMPLES[name], ModelSettings(optimizer="adam")
    module, twin = build_network(network, seed=1), build_twin(network, seed=1)
    load_weights(module, read_weights(twin, network), network)
    with torch.no_grad():
        next(module.parameters()).mul_(1 + change)
    batches = [(images[start : start + 16], labels[start : start + 16]) for start in (0, 16)]
    transposed = [(np.ascontiguousarray(np.moveaxis(batch, -1, 1)), own) for batch, own in batches]
    return climb_all(Port(module, model or twin, transposed, batches, (images, labels),
        lambda params: make_optimizer(params, settings), lambda: optimizers.make_optimizer(settings)), Steps(4, 6))
"""


@pytest.fixture(params=["tensorflow", "jax", "torch"])
def on_backend(request, run_python, monkeypatch):
    """Runs lines after ``PAIR`` on a backend of Keras; gives what they print."""
    pytest.importorskip(request.param)
    monkeypatch.setenv("KERAS_BACKEND", request.param)

    def run(lines):
        answer = run_python("-W", "error:Explicitly requested dtype", "-c", PAIR + lines)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    return run


def test_a_right_port_a_change_and_another_optimizer_are_told_apart_on_each_backend(on_backend):
    lines = """
same, changed, other = check("three_conv"), check("three_conv", 3e-5), check("three_conv", optimizer="sgd")
for report in (same, changed, other):
    print(report.same_function, report.same_training)
"""
    assert on_backend(lines).split() == ["True", "True", "False", "None", "True", "False"]


def test_weights_are_copied_on_tensorflow_alone_and_elsewhere_the_error_says_so(run_python, monkeypatch):
    pytest.importorskip("jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    answer = run_python("-c", PAIR + "check('lenet5', weights='keras')")
    assert "expected equal weights" in answer.stderr
    assert "KERAS_BACKEND=tensorflow" in answer.stderr


def test_the_ladder_climbs_all_rungs_and_finds_the_one_that_breaks_on_each_backend(on_backend):
    lines = """
for change in (0, 1e-4):
    report = ladder("mnist_convnet", change)
    print(report.holds, *sorted({rung.number for rung in report.rungs if rung.holds != (change > 0)}))
"""
    held, broken = on_backend(lines).splitlines()
    assert held == f"True {' '.join(map(str, range(1, 12)))}"
    assert broken.startswith("False 3 4")


def test_a_ladder_of_a_graph_asks_for_tensorflow(run_python, monkeypatch):
    pytest.importorskip("jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    graph = "inputs = keras.Input((28, 28, 1)); twin = build_twin(EXAMPLES['lenet5'])\n"
    answer = run_python("-c", PAIR + graph + "ladder('lenet5', model=keras.Model(inputs, twin(inputs)))")
    assert "expected a keras.Sequential model, because Keras runs on jax, got a Functional" in answer.stderr
    assert "KERAS_BACKEND=tensorflow" in answer.stderr


@pytest.mark.slow
def test_every_packaged_network_holds_on_each_backend(on_backend):
    lines = """
for name in EXAMPLES:
    for report in check(name), ladder(name):
        assert report.holds, f"{name}: {report}"
print(len(EXAMPLES))
"""
    assert on_backend(lines) == "10\n"
