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
