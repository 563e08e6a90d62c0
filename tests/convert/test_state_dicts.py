"""Weights of other people's PyTorch code: stock checkpoints, any order of registration, their own module as source."""

import argparse
import random
import runpy
from itertools import pairwise
from pathlib import Path

import keras
import lightning
import numpy as np
import pytest
import torch
from torch import nn

from cnn_mnist.architecture.descriptions import read_network
from cnn_mnist.data.mnist import scale
from cnn_mnist.errors import UserError, UserNotice
from cnn_mnist.pytorch.network import build_network
from keras_parity.convert.cli import convert_weights
from keras_parity.convert.portable import match_arrays


@pytest.fixture
def images(tiny_mnist):
    return scale(tiny_mnist.test_images)[..., None]


class Lit(lightning.LightningModule):
    """A stock module whose loss has weights, and whose hyper-parameters hold a path and a namespace."""

    def __init__(self, folder=Path("data"), weighted=False):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1352, 10))
        self.criterion = nn.CrossEntropyLoss(weight=torch.ones(10) if weighted else None)


STOCK = [{"Conv2D": {"filters": 8, "kernel_size": 3, "activation": "relu"}}, "MaxPooling2D", "Flatten", {"Dense": 10}]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("ending", [".ckpt", ".pt"])
def test_a_stock_lightning_checkpoint_converts_under_each_ending(images, tmp_path, weighted, ending, recwarn):
    module = Lit([Path("data"), argparse.Namespace(lr=1e-3)], weighted)
    saved = {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams), "epoch": 3}
    torch.save(saved, tmp_path / f"stock{ending}")
    convert_weights(tmp_path / f"stock{ending}", tmp_path / "a.keras", images, architecture=STOCK)
    said = [str(warning.message) for warning in recwarn if issubclass(warning.category, UserNotice)]
    assert any("left out: criterion.weight" in message for message in said) == weighted, said
    model = keras.saving.load_model(tmp_path / "a.keras")
    with torch.no_grad():
        expected = module.net(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, rtol=0, atol=1e-5)


NET_PY = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.head = nn.Linear(8 * 28 * 28, 10)

    def forward(self, x):
        x = torch.relu(self.first(torch.relu(self.stem(x))))
        return self.head(torch.relu(self.second(x)).flatten(1)).softmax(-1)


class Other(Net):
    def forward(self, x):
        return super().forward(x.flip(-1))


class Short(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(2, 2)
"""
CONV = {"Conv2D": {"filters": 8, "kernel_size": 3, "padding": "same", "activation": "relu"}}
NET = [CONV, CONV, CONV, "Flatten", {"Dense": 10}]


@pytest.fixture
def own_net(tmp_path):
    (tmp_path / "net.py").write_text(NET_PY)
    net = runpy.run_path(str(tmp_path / "net.py"))["Net"]()
    torch.save({"state_dict": {f"net.{name}": tensor for name, tensor in net.state_dict().items()}}, tmp_path / "n.pt")
    return net


@pytest.mark.filterwarnings("ignore:.*matched by order:cnn_mnist.errors.UserNotice")
def test_modules_that_may_be_exchanged_are_said_and_not_counted_as_right(own_net, images, tmp_path):
    with pytest.warns(UserNotice, match=r"net\.second\.weight and net\.first\.weight have the same shape"):
        agreement = convert_weights(tmp_path / "n.pt", tmp_path / "n.keras", images, architecture=NET)
    assert "0 changed" not in str(agreement)
    assert "--source=FILE.py:CLASS" in str(agreement)


@pytest.mark.filterwarnings("ignore::cnn_mnist.errors.UserNotice")
def test_the_users_own_module_is_the_source_and_settles_the_order(own_net, images, tmp_path):
    module = f"{tmp_path}/net.py:Net"
    agreement = convert_weights(tmp_path / "n.pt", tmp_path / "n.keras", images, architecture=NET, module=module)
    assert str(agreement).endswith(" 0 changed predictions")
    model = keras.saving.load_model(tmp_path / "n.keras")
    with torch.no_grad():
        expected = own_net(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    found = torch.from_numpy(model.predict(images, verbose=0)).softmax(-1).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore::cnn_mnist.errors.UserNotice")
@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("net.py:Other", "would not agree with"),
        ("net.py:Nothing", "expected a class of .*net.py that makes an nn.Module, got Nothing"),
        ("none.py:Net", "expected FILE.py:CLASS, got .*no such file exists"),
        ("net.py:Short", r"got others \(last.weight\); name the class that was saved"),
    ],
)
def test_another_module_as_the_source_is_refused(own_net, images, tmp_path, named, message):
    with pytest.raises(UserError, match=message):
        convert_weights(tmp_path / "n.pt", tmp_path / "n.keras", images, architecture=NET, module=f"{tmp_path}/{named}")
    assert not (tmp_path / "n.keras").exists()


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
def test_a_state_dict_in_any_order_of_registration_is_right_or_doubted(seed):
    rng, outcomes = random.Random(seed), {"right": 0, "doubted": 0}
    for _ in range(50):
        channels = [1, *(rng.choice((2, 3)) for _ in range(rng.randint(1, 4)))]
        names = rng.sample(("a", "block", "conv1", "conv2", "l0", "l1", "l2", "stem", "z"), len(channels))
        parts = [nn.Conv2d(one, other, 3, padding=1) for one, other in pairwise(channels)]
        parts.append(nn.Linear(channels[-1] * 28 * 28, 3))
        if rng.random() < 0.5:
            parts.insert(1, nn.BatchNorm2d(channels[1]))
            names.append("norm")
        net, called = nn.Module(), dict(zip(names, parts, strict=True))
        for name in rng.sample(names, len(names)):
            net.add_module(name, called[name])
        network = build_network(read_network(nn.Sequential(*parts[:-1], nn.Flatten(), parts[-1])))
        wanted = {name: tuple(array.shape) for name, array in network.state_dict().items() if "num_" not in name}
        state = {name: array.numpy() for name, array in net.state_dict().items() if "num_" not in name}
        matched, _, doubt = match_arrays(Path("a.pt"), state, wanted)
        expected = [a.numpy() for part in parts for name, a in part.state_dict().items() if "num_" not in name]
        right = all(np.shares_memory(one, other) for one, other in zip(matched.values(), expected, strict=True))
        assert right or doubt, [*state]
        outcomes["doubted" if doubt else "right"] += 1
    assert min(outcomes.values()) > 5, outcomes


def test_arrays_of_unique_shapes_are_matched_in_any_order_also_without_dots_and_from_sequential_numbers():
    wanted = {"conv1.weight": (2, 1, 3, 3), "conv1.bias": (2,), "dense1.weight": (3, 8), "dense1.bias": (3,)}
    arrays = {name: np.full(shape, float(number)) for number, (name, shape) in enumerate(wanted.items())}
    flat = {f"x{number}": array for number, array in enumerate([*arrays.values()][::-1])}
    assert match_arrays(Path("a.pt"), flat, wanted)[0] == arrays
    numbers = {f"{n}.weight": np.full((4, 4), float(n)) for n in (10, 2, 0)}  # as .safetensors sorts them
    matched, _, doubt = match_arrays(Path("a.pt"), numbers, {f"dense{n}.weight": (4, 4) for n in (1, 2, 3)})
    assert ([array[0, 0] for array in matched.values()], doubt) == ([0.0, 2.0, 10.0], "")
    with pytest.raises(UserError, match=r"expected conv1.weight \(2, 1, 3, 3\), got x4 \(5,\) in a.pt"):
        match_arrays(Path("a.pt"), {"x4": np.zeros(5), **{n: flat[n] for n in ("x0", "x1", "x2")}}, wanted)
