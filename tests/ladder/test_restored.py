"""``check`` leaves the user's objects as they were, and starts each of its runs from them."""

import random
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import lr_scheduler

import keras_parity as kp

L = keras.layers
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(64, 6)).astype("float32"), RANDOM.integers(0, 3, 64)
LOSS = {"torch_loss": nn.CrossEntropyLoss(), "steps": 12, "batch_size": 16}


def put(layer, module):
    """Copies a dense layer's weights."""
    kernel, bias = layer.get_weights()
    module.weight.data.copy_(torch.from_numpy(kernel.T.copy()))
    module.bias.data.copy_(torch.from_numpy(bias))


def mlp(optimizer):
    """Two equal networks, Keras's compiled with an optimizer."""
    model = keras.Sequential([keras.Input((6,)), L.Dense(8, "tanh"), L.Dense(3)])
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    put(model.layers[0], network[0])
    put(model.layers[1], network[2])
    return network, model


def test_a_line_that_is_tried_leaves_no_setting_of_keras_optimizer():
    network, model = mlp(keras.optimizers.SGD(0.1, clipnorm=0.5))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)

    def step(inputs, labels):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(inputs), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()
        return loss

    words = {"torch_step": step, "torch_optimizer": optimizer, "steps": 12, "batch_size": 16}
    for _ in range(2):  # the second one would find the trial's setting
        report = kp.check(network, model, 3 * X, Y, **words)
        assert report.same_training is False
        assert report.to_paste
        assert (model.optimizer.clipnorm, model.optimizer.global_clipnorm) == (0.5, None)


def test_a_schedule_that_a_function_makes_leaves_the_rate_the_step_and_the_groups_of_the_optimizer():
    network, model = mlp(keras.optimizers.SGD(0.1))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    (group,) = optimizer.param_groups
    kp.check(
        network,
        model,
        X,
        Y,
        torch_optimizer=optimizer,
        torch_schedule=lambda o: lr_scheduler.ConstantLR(o, 0.0),
        **LOSS,
    )
    assert optimizer.param_groups[0] is group
    assert group["lr"] == 0.1
    assert "initial_lr" not in group
    assert "step" not in vars(optimizer)


class Tied(nn.Module):
    """An autoencoder whose decoder is a view of the encoder."""

    def __init__(self):
        super().__init__()
        self.enc, self.dec = nn.Linear(6, 4), nn.Linear(4, 6)
        self.dec.weight.data = self.enc.weight.data.t()

    def forward(self, inputs):
        """Inputs [batch, 6]."""
        return self.dec(self.enc(inputs).tanh())


class TiedTwin(keras.Model):
    """``Tied`` with two variables of the same start: both move as the one of a view moves."""

    def __init__(self):
        super().__init__()
        self.enc = L.Dense(4, "tanh")
        self.bias = self.add_weight(shape=(6,), initializer="zeros", name="bias")

    def call(self, inputs):
        """Inputs [batch, 6]."""
        return keras.ops.matmul(self.enc(inputs), keras.ops.transpose(self.enc.kernel)) + self.bias


def test_weights_that_are_views_of_one_storage_stay_so():
    network, model = Tied(), TiedTwin()
    model(X)
    put(model.enc, network.enc)
    network.dec.bias.data.zero_()
    view = network.enc.weight.detach().numpy()
    assert kp.check(network, model, X).same_function is True
    assert network.enc.weight.data_ptr() == network.dec.weight.data_ptr()
    network.enc.weight.data.zero_()
    assert not view.any()


class Counter(SimpleNamespace):
    """A count as an attribute, with the interface of a list of one."""

    def __getitem__(self, place):
        return self.number

    def __setitem__(self, place, value):
        self.number = value


@pytest.mark.parametrize("every", [2, 5])
@pytest.mark.parametrize("number", [[0], Counter(number=0)], ids=["list", "attribute"])
def test_a_step_that_counts_starts_from_the_same_number_in_each_run(every, number):
    network, model = mlp(keras.optimizers.SGD(0.1, gradient_accumulation_steps=every))
    optimizer = torch.optim.SGD(network.parameters(), 0.1)

    def step(inputs, labels):
        loss = F.cross_entropy(network(inputs), labels)
        (loss / every).backward()
        number[0] += 1
        if number[0] % every == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    report = kp.check(network, model, X, Y, torch_step=step, torch_optimizer=optimizer, steps=12, batch_size=16)
    assert report.same_training is True, str(report)
    assert number[0] == 0


@pytest.mark.filterwarnings("ignore::FutureWarning")  # TorchScript is deprecated
def test_random_state_metrics_and_flags_of_a_script_stay():
    network, model = mlp(keras.optimizers.SGD(0.1))
    model.evaluate(X[:7], Y[:7], verbose=0)
    loss, script = float(model.metrics[0].result()), torch.jit.trace(network, torch.from_numpy(X))
    script.train()
    random.seed(5)
    report = kp.check(script, model, X, Y, torch_optimizer=torch.optim.SGD(script.parameters(), 0.1), **LOSS)
    assert report.same_training is True, str(report)
    assert float(model.metrics[0].result()) == loss
    assert random.random() == random.Random(5).random()
    assert all(module.training for module in script.modules())


class TwoOptimizers(keras.Model):
    """A network whose own step uses a second optimizer and a counter."""

    def __init__(self):
        super().__init__()
        self.out, self.second = L.Dense(3), keras.optimizers.SGD(0.01, momentum=0.9)
        self.second.build([keras.Variable(np.zeros(2, "float32"))])

    def call(self, inputs):
        """Inputs [batch, 6]."""
        return self.out(inputs)

    def train_step(self, data):
        """Counts in the second optimizer."""
        self.second.iterations.assign_add(1)
        return super().train_step(data)


def test_the_state_of_a_second_optimizer_is_restored():
    model, network = TwoOptimizers(), nn.Linear(6, 3)
    model(X)
    put(model.out, network)
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    report = kp.check(network, model, X, Y, torch_optimizer=torch.optim.SGD(network.parameters(), 0.1), **LOSS)
    assert report.same_training is True, str(report)
    assert int(model.second.iterations) == 0
