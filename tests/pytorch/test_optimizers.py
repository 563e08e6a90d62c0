import keras
import numpy as np
import pytest
import torch

from cnn_mnist.pytorch.keras_optimizers import KerasRMSprop
from cnn_mnist.pytorch.module import Classifier
from cnn_mnist.pytorch.optimizers import make_optimizer
from cnn_mnist.settings import ModelSettings
from keras_parity.twin import optimizers

VARIANTS = {
    "rmsprop": {},
    "rmsprop with momentum": {"momentum": 0.9},
    "rmsprop centered": {"momentum": 0.9, "centered": True},
    "adam": {"optimizer": "adam"},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.01},
    "sgd": {"optimizer": "sgd"},
    "sgd with momentum": {"optimizer": "sgd", "momentum": 0.9},
    "sgd with nesterov momentum and weight decay": {
        "optimizer": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.1,
    },
}  # fmt: skip


@pytest.fixture
def float64():
    keras.config.set_floatx("float64")
    yield
    keras.config.set_floatx("float32")


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_the_steps_are_keras_own_to_a_rounding(settings, float64):
    settings = ModelSettings(**settings)
    generator = np.random.default_rng(0)
    start = generator.normal(size=20)
    gradients = generator.normal(size=(50, 20)) * np.exp(generator.normal(size=(50, 20)) - 3)
    variable, theirs = keras.Variable(start, dtype="float64"), optimizers.make_optimizer(settings)
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    ours = make_optimizer([parameter], settings)
    for gradient in gradients:
        theirs.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        parameter.grad = torch.from_numpy(gradient)
        ours.step()
    np.testing.assert_allclose(parameter.detach().numpy(), variable.numpy(), rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
def test_native_is_pytorchs_own(settings):
    made = Classifier(align="native", **settings).configure_optimizers()
    assert type(made).__module__.startswith("torch.optim")
    assert type(made).__name__.lower() == settings.get("optimizer", "rmsprop")


def test_rmsprop_steps_by_keras_formula():
    generator = np.random.default_rng(0)
    start, gradients = generator.normal(size=5), generator.normal(size=(20, 5))
    weight, square = start.copy(), np.zeros(5)
    for gradient in gradients:  # keras/src/optimizers/rmsprop.py
        square = 0.9 * square + 0.1 * gradient**2
        weight -= 1e-3 * gradient / np.sqrt(square + 1e-7)

    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = KerasRMSprop([parameter], lr=1e-3, rho=0.9, epsilon=1e-7)
    for gradient in gradients:
        parameter.grad = torch.from_numpy(gradient)
        optimizer.step()
    np.testing.assert_allclose(parameter.detach().numpy(), weight, rtol=1e-14)


def test_epsilon_inside_the_root_is_another_step_than_pytorchs():
    steps = []
    for optimizer_class, names in (
        (KerasRMSprop, {"rho": 0.9, "epsilon": 1e-7}),
        (torch.optim.RMSprop, {"alpha": 0.9, "eps": 1e-7}),
    ):
        parameter = torch.nn.Parameter(torch.zeros(1))
        parameter.grad = torch.full((1,), 1e-5)
        optimizer_class([parameter], lr=1.0, **names).step()
        steps.append(parameter.item())
    assert abs(steps[0]) < 0.1 * abs(steps[1])


def test_parameters_without_a_gradient_stay():
    parameter = torch.nn.Parameter(torch.ones(1))
    KerasRMSprop([parameter], lr=1.0, rho=0.9, epsilon=1e-7).step()
    assert parameter.item() == 1
