import numpy as np
import torch

from cnn_mnist.optimizers import KerasRMSprop


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
