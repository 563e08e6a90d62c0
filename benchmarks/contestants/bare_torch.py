"""A bare torch loop with everything we know: the limit that Lightning is held against.

A process: ``python -m benchmarks.contestants.bare_torch DATA_DIR``; times its second epoch.
"""

import json
import sys
import time
from dataclasses import asdict

import numpy as np

from cnn_mnist.frameworks import keep_large_buffers

keep_large_buffers()

import torch
import torch.nn.functional as F

from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.architecture.trace import layers_of
from cnn_mnist.data.mnist import scale
from cnn_mnist.data.order import batch_slices, epoch_order
from cnn_mnist.data.splits import load_splits
from cnn_mnist.pytorch.network import build_network, load_weights
from cnn_mnist.pytorch.optimizers import make_optimizer
from cnn_mnist.settings import DataSettings, ModelSettings


def main(data_dir: str) -> None:
    """Trains two epochs."""
    data, model = DataSettings(data_dir=data_dir), ModelSettings()
    train = load_splits(**asdict(data))["train"]
    all_images = torch.from_numpy(scale(train.images)).unsqueeze(1)
    all_labels = torch.from_numpy(train.labels.astype(np.int64))
    layers = layers_of(model.architecture)
    network = build_network(layers)
    load_weights(network, initial_weights(layers, "keras", model.seed), layers)
    optimizer = make_optimizer(network.parameters(), model)
    for epoch in range(2):
        start = time.perf_counter()
        order = torch.from_numpy(epoch_order(len(all_labels), data.seed, epoch))
        for place in batch_slices(len(all_labels), data.batch_size):
            indices = order[place]
            optimizer.zero_grad()
            F.cross_entropy(network(all_images[indices]), all_labels[indices]).backward()
            optimizer.step()
        seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1])
