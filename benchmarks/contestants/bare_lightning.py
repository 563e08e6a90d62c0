"""The bare torch loop's step in a barebones trainer: what Lightning itself costs.

A process: ``python -m benchmarks.contestants.bare_lightning DATA_DIR``; times its second epoch of 300 steps.
"""

import json
import sys
from importlib import import_module
from typing import Any

import numpy as np

from benchmarks.contestants import STEPS

import_module("cnn_mnist.pytorch")  # before torch: the allocator, and how threads wait

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule, Trainer

from benchmarks.contestants.plain_lightning import Clock
from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.data.splits import load_splits
from cnn_mnist.pytorch.loader import Batch, Loader, to_tensor
from cnn_mnist.pytorch.network import build_network, load_weights
from cnn_mnist.pytorch.optimizers import make_optimizer
from cnn_mnist.settings import DataSettings, ModelSettings


class Bare(LightningModule):
    """This project's network, loss and optimizer, and no metric."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = ModelSettings()
        described = self.settings.network
        self.network = build_network(described)
        load_weights(self.network, initial_weights(described, "keras", self.settings.seed), described)

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """The loss of a batch."""
        images, labels = batch
        return F.cross_entropy(self.network(images), labels)

    def configure_optimizers(self) -> Any:
        """Returns the optimizer of the settings."""
        return make_optimizer(self.network.parameters(), self.settings)


def main(data_dir: str) -> None:
    """Trains two epochs."""
    data, clock = DataSettings(data_dir=data_dir), Clock()
    train = load_splits(data)["train"]
    labels = torch.from_numpy(train.labels.astype(np.int64))
    loader = Loader(to_tensor(train.images), labels, data.batch_size, data.seed)
    trainer = Trainer(max_epochs=2, limit_train_batches=STEPS, accelerator="cpu", callbacks=[clock], barebones=True)
    trainer.fit(Bare(), loader)
    print(json.dumps({"milliseconds": 1e3 * clock.seconds / STEPS}))


if __name__ == "__main__":
    main(sys.argv[1])
