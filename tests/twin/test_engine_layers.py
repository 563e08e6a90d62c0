"""Each layer of the twin computes the same on each of Keras's backends."""

import json

import numpy as np
import pytest

from keras_parity.frameworks import RUN_NAMES

CODE = """
import json, sys
import keras
import numpy as np
from keras_parity.twin.engines import ENGINE

images = np.random.default_rng(0).random((2, 13, 12, 3), np.float32)
means = []
for pool, strides, (height, width) in json.loads(sys.argv[1]):
    layer = keras.layers.AveragePooling2D(pool, strides, "same")
    ENGINE.tune(layer)
    means.append(keras.ops.convert_to_numpy(layer(images[:, :height, :width])).tolist())
print(json.dumps(means))
"""
POOLS = [
    (pool, strides, size)
    for pool in (2, 3, (2, 3), 5)
    for strides in (1, 2, (3, 1))
    for size in ((12, 12), (13, 11), (4, 5))
]


def test_average_pools_leave_the_zeros_of_their_padding_out(run_python, monkeypatch):
    answers = []
    for backend in RUN_NAMES:
        pytest.importorskip(backend)
        monkeypatch.setenv("KERAS_BACKEND", backend)
        answer = run_python("-c", CODE, json.dumps(POOLS))
        assert answer.returncode == 0, answer.stderr
        answers.append(json.loads(answer.stdout))
    for pool, first, *others in zip(POOLS, *answers, strict=True):
        assert all(np.allclose(other, first, rtol=0, atol=1e-6) for other in others), pool


ACTIVATED = """
import numpy as np
import torch
import keras
from cnn_mnist.architecture.layer_spec import ACTIVATIONS
from cnn_mnist.architecture.descriptions import read_network
from cnn_mnist.pytorch.keras_layers import rounded_constants
from cnn_mnist.pytorch.network import build_network, load_weights
from keras_parity.twin.dtypes import in_dtype
from keras_parity.twin.network import build_twin, read_weights

images = np.random.default_rng(0).normal(0, 3, (4, 6, 6, 1))
for activation in [*(name for name in ACTIVATIONS if name != "softmax"), {"LeakyReLU": 0.3}, {"ELU": 0.7}]:
    own = {"Activation": activation} if isinstance(activation, str) else activation
    layers = [{"Conv2D": {"filters": 3, "kernel_size": 3}}, own, "Flatten", {"Dense": 2}]
    network = read_network([{"Input": [6, 6, 1]}, *layers])
    with in_dtype("float64"):
        twin = build_twin(network)
        module = build_network(network).double().eval()
        load_weights(module, read_weights(twin, network), network)
        from_keras = keras.ops.convert_to_numpy(twin(keras.ops.convert_to_tensor(images)))
    with torch.no_grad(), rounded_constants():
        from_torch = module(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    print(activation, np.abs(from_torch - from_keras).max())
"""


@pytest.mark.parametrize("backend", RUN_NAMES)
def test_activations_are_those_of_the_pytorch_network_in_float64(run_python, monkeypatch, backend):
    pytest.importorskip(backend)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    answer = run_python("-c", ACTIVATED)
    assert answer.returncode == 0, answer.stderr
    errors = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in answer.stdout.splitlines()}
    assert len(errors) > 10
    assert max(errors.values()) < 1e-13, errors
