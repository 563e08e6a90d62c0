"""``predict --source``: the user's own module with the weights of a file."""

import json
import runpy

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cnn_mnist.data.mnist import scale

NET_PY = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(784, 20)
        self.second = nn.Linear(20, 10)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x.flatten(1) - 0.1307)))


class Probabilities(Net):
    def forward(self, x):
        return super().forward(x).softmax(-1)


class Part(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(784, 20)

    def forward(self, x):
        return self.first(x.flatten(1))


class Single(Part):
    def forward(self, x):
        return super().forward(x)[:, :1]


class Wrong(Net):
    def forward(self, x):
        return self.second(x)
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "net.py").write_text(NET_PY)
    torch.manual_seed(0)
    net = runpy.run_path(str(tmp_path / "net.py"))["Net"]()
    state = net.state_dict()
    torch.save(state, tmp_path / "a.pt")
    torch.save({"state_dict": {f"model.{name}": array for name, array in state.items()}}, tmp_path / "a.ckpt")
    save_file(state, tmp_path / "a.safetensors")
    return net


def _expected(net, tiny_mnist):
    images = torch.from_numpy(scale(tiny_mnist.test_images))[:, None]
    with torch.no_grad():
        return net(images).softmax(-1).numpy()


@pytest.mark.parametrize("package", ["cnn_mnist", "keras_parity"])
@pytest.mark.parametrize("file", ["a.pt", "a.ckpt", "a.safetensors"])
@pytest.mark.parametrize("name", ["Net", "Probabilities"])
def test_the_probabilities_are_those_of_the_module(
    command, use_tiny_mnist, tiny_mnist, net, tmp_path, package, file, name
):
    source = f"--source={tmp_path}/net.py:{name}"
    code, _, err = command(package, "predict", f"--ckpt_path={tmp_path / file}", source, "--output=a.json")
    assert (code, err) == (0, "")
    rows = json.loads((tmp_path / "a.json").read_text())
    found = [[row[f"p{digit}"] for digit in range(10)] for row in rows]
    np.testing.assert_allclose(found, _expected(net, tiny_mnist), rtol=0, atol=1e-6)


@pytest.mark.parametrize("package", ["cnn_mnist", "keras_parity"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Wrong", "raises RuntimeError: "),
        ("Single", "expected outputs [n, classes] of "),
        ("None", "that makes an nn.Module, got None"),
    ],
)
def test_a_module_that_does_not_fit_is_one_line(command, use_tiny_mnist, net, tmp_path, package, name, message):
    code, out, err = command(package, "predict", f"--ckpt_path={tmp_path}/a.pt", f"--source={tmp_path}/net.py:{name}")
    assert (code, out) == (1, "")
    assert message in err.splitlines()[-1]
    assert "--source: " in err


def test_arrays_that_the_module_does_not_have_are_named(command, use_tiny_mnist, net, tmp_path):
    arguments = (f"--ckpt_path={tmp_path}/a.pt", f"--source={tmp_path}/net.py:Part")
    code, _, err = command("cnn_mnist", "predict", *arguments)
    assert code == 0
    assert f"a.pt: left out: second.bias and 1 more, which {tmp_path}/net.py:Part does not have" in err


def test_without_the_module_the_error_names_the_flag(command, net, tmp_path):
    assert "--source=FILE.py:CLASS" in command("cnn_mnist", "predict", f"--ckpt_path={tmp_path}/a.pt")[2]
    (tmp_path / "a.keras").write_bytes(b"")
    source = f"--source={tmp_path}/net.py:Net"
    error = command("keras_parity", "predict", f"--ckpt_path={tmp_path}/a.keras", source)[2]
    assert "--source: expected a PyTorch file with the weights of the module" in error
