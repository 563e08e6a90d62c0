"""The fastest published recipe to 99%: train_mnist_fast, its last notebook; its network and settings in a bare loop.

A process: ``python -m benchmarks.contestants.recipe DATA_DIR SEED [tuned]``; ``tuned`` adds this project's allocator
setting and channels_last, which the recipe does not have.
"""

import json
import sys
import time

import numpy as np

from cnn_mnist.frameworks import raise_malloc_thresholds

if "tuned" in sys.argv:
    raise_malloc_thresholds()

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnn_mnist.data import mnist

BATCH_SIZE = 256


def main(data_dir: str, seed: int, tuned: bool) -> None:
    """Trains one epoch, then tests."""
    torch.manual_seed(seed)
    data = mnist.load_mnist(data_dir)
    images, labels = _tensors(data.train_images, data.train_labels)
    shuffled = torch.randperm(len(labels))  # once
    images, labels = images[shuffled], labels[shuffled]
    network = nn.Sequential(
        *(nn.Conv2d(1, 24, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(24, 32, 3), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(800, 256), nn.ReLU(), nn.Linear(256, 10)),
    )
    if tuned:
        network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, betas=(0.7, 0.9))
    steps = -(-len(labels) // BATCH_SIZE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps, cycle_momentum=False)
    start = time.perf_counter()
    for batch, target in zip(images.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True):
        optimizer.zero_grad()
        F.cross_entropy(network(batch), target).backward()
        optimizer.step()
        schedule.step()
    seconds = time.perf_counter() - start
    images, labels = _tensors(data.test_images, data.test_labels)
    with torch.no_grad():
        accuracy = (network(images).argmax(dim=1) == labels).double().mean().item()
    print(json.dumps({"seconds": seconds, "test/acc": accuracy}))


def _tensors(images: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    scaled = (mnist.scale(images) - 0.1307) / 0.3081
    return torch.from_numpy(scaled.astype(np.float32)).unsqueeze(1), torch.from_numpy(labels.astype(np.int64))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), "tuned" in sys.argv)
