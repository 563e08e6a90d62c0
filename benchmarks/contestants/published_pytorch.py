"""The published PyTorch loop: torchvision's MNIST with ToTensor, a DataLoader, softmax, ``.item()`` in every step.

A process: ``python -m benchmarks.contestants.published_pytorch DATA_DIR WORKERS``; times its second epoch of 300 steps.
"""

import json
import sys
import time
from itertools import islice

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from benchmarks.contestants import BATCH_SIZE, STEPS
from benchmarks.contestants.network import plain_network, plain_optimizer


def main(data_dir: str, workers: int) -> None:
    """Trains two epochs."""
    torch.manual_seed(0)
    loader = DataLoader(MNIST(data_dir, transform=ToTensor()), BATCH_SIZE, shuffle=True, num_workers=workers)
    network, criterion = plain_network(softmax=True), nn.CrossEntropyLoss()
    optimizer = plain_optimizer(network)
    for _ in range(2):
        start, loss_sum, correct = time.perf_counter(), 0.0, 0
        for images, labels in islice(loader, STEPS):
            optimizer.zero_grad()
            outputs = network(images)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item()
            correct += (outputs.argmax(dim=1) == labels).sum().item()
        seconds = time.perf_counter() - start
    print(json.dumps({"milliseconds": 1e3 * seconds / STEPS, "train_acc": correct / (STEPS * BATCH_SIZE)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
