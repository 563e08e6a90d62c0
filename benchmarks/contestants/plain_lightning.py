"""A Lightning module as tutorials write it: a DataLoader, torchmetrics logged in every step, the rich bar.

A process: ``python -m benchmarks.contestants.plain_lightning DATA_DIR``; times its second epoch of 300 steps.
"""

import json
import sys
import tempfile
import time

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import RichProgressBar
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

from benchmarks.contestants import BATCH_SIZE, STEPS
from benchmarks.contestants.network import plain_network, plain_optimizer


class Plain(LightningModule):
    """The tutorial's module."""

    def __init__(self) -> None:
        super().__init__()
        self.network = plain_network()
        self.accuracy = MulticlassAccuracy(10, average="micro")

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        """One step, its loss and accuracy logged."""
        images, labels = batch
        logits = self.network(images)
        loss = F.cross_entropy(logits, labels)
        self.accuracy(logits, labels)
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.log("train_acc", self.accuracy, on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The published RMSprop."""
        return plain_optimizer(self.network)


class Clock(Callback):
    """Seconds of the last epoch."""

    def on_train_epoch_start(self, *_: object) -> None:
        """Starts."""
        self.start = time.perf_counter()

    def on_train_epoch_end(self, *_: object) -> None:
        """Stops."""
        self.seconds = time.perf_counter() - self.start


def main(data_dir: str) -> None:
    """Trains two epochs."""
    seed_everything(0)
    clock = Clock()
    loader = DataLoader(MNIST(data_dir, transform=ToTensor()), BATCH_SIZE, shuffle=True)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=2,
            limit_train_batches=STEPS,
            accelerator="cpu",
            callbacks=[clock, RichProgressBar()],
            default_root_dir=folder,
        )
        trainer.fit(Plain(), loader)
    print(f"\n{json.dumps({'milliseconds': 1e3 * clock.seconds / STEPS})}")


if __name__ == "__main__":
    main(sys.argv[1])
