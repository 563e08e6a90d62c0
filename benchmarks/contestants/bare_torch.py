"""A bare torch loop with all of this project's optimizations: the limit to compare Lightning with.

A process: ``python -m benchmarks.contestants.bare_torch DATA_DIR [SECONDS]``; SECONDS limits each epoch.
"""

import json
import math
import sys
import time
from importlib import import_module

import numpy as np

from benchmarks.contestants import STEPS

import_module("cnn_mnist.pytorch")  # before torch: the allocator, and how threads wait

import torch
import torch.nn.functional as F

from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.data.mnist import scale
from cnn_mnist.data.order import batch_slices, epoch_order
from cnn_mnist.data.splits import load_splits
from cnn_mnist.pytorch.network import build_network, load_weights
from cnn_mnist.pytorch.optimizers import make_optimizer
from cnn_mnist.settings import DataSettings, ModelSettings


def main(data_dir: str, seconds: float = math.inf) -> None:
    """Trains two epochs."""
    data, model = DataSettings(data_dir=data_dir), ModelSettings()
    train = load_splits(data)["train"]
    all_images = torch.from_numpy(scale(train.images[..., 0])).unsqueeze(1)
    all_labels = torch.from_numpy(train.labels.astype(np.int64))
    network = build_network(model.network)
    load_weights(network, initial_weights(model.network, "keras", model.seed), model.network)
    optimizer = make_optimizer(network.parameters(), model)
    for epoch in range(2):
        start = time.perf_counter()
        order = torch.from_numpy(epoch_order(len(all_labels), data.seed, epoch))
        steps = 0
        for place in batch_slices(STEPS * data.batch_size, data.batch_size):
            indices = order[place]
            optimizer.zero_grad()
            F.cross_entropy(network(all_images[indices]), all_labels[indices]).backward()
            optimizer.step()
            steps += 1
            spent = time.perf_counter() - start
            if spent > seconds:
                break
    print(json.dumps({"milliseconds": 1e3 * spent / steps}))


if __name__ == "__main__":
    main(sys.argv[1], *map(float, sys.argv[2:]))
