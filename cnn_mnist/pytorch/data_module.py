"""MNIST for Lightning: the whole set in memory, scaled once."""

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from cnn_mnist.data import mnist
from cnn_mnist.data.splits import EVALUATION_BATCH_SIZE, Split, load_splits
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.loader import Batch, Loader
from cnn_mnist.settings import DataSettings


class MNISTDataModule(LightningDataModule):
    """MNIST in memory: uint8 as found, float32 in [0, 1] where it is trained on.

    Args:
        **settings: The fields of ``DataSettings``.

    Raises:
        UserError: A setting is out of its range; at ``prepare_data``, MNIST is missing or not MNIST, or the
            training set is too small for the settings.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = DataSettings(**settings)
        self.save_hyperparameters(asdict(self.settings))
        self.splits: dict[str, Split] = {}  # as found, by name
        self._on_device: dict[str, tuple[Tensor, Tensor]] = {}

    def prepare_data(self) -> None:
        """Finds or makes the data, and checks the settings against it before anything is written."""
        self._load()

    def setup(self, stage: str) -> None:
        """Reads the data, in every process."""
        self._load()

    def train_dataloader(self) -> Loader:
        """The training part, in the order of (seed, epoch)."""
        return self._loader("train", self.settings.batch_size, self.settings.seed)

    def val_dataloader(self) -> Loader | list[Any]:
        """The validation split; an empty list where there is none, which Lightning skips."""
        if self.settings.val_size == 0:
            return []
        return self._loader("val", EVALUATION_BATCH_SIZE)

    def train_eval_dataloader(self) -> Loader:
        """The training part for evaluation: in order, in large batches."""
        return self._loader("train", EVALUATION_BATCH_SIZE)

    def test_dataloader(self) -> Loader:
        """The test set, whole."""
        return self._loader("test", EVALUATION_BATCH_SIZE)

    def predict_dataloader(self) -> Loader:
        """The test set, whole."""
        return self.test_dataloader()

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """The batch as it is: it was cut on the device that trains."""
        return batch

    def _load(self) -> None:
        self.splits = self.splits or load_splits(**asdict(self.settings))

    def _loader(self, name: str, batch_size: int, seed: int | None = None) -> Loader:
        if self.trainer is None:
            raise UserError("the data module has no trainer; give it to Trainer.fit, .validate, .test or .predict")
        rank, world_size = self.trainer.global_rank, self.trainer.world_size
        tensors = self._tensors(name, self.trainer.strategy.root_device)
        return Loader(*tensors, batch_size, seed, rank, world_size)

    def _tensors(self, name: str, device: torch.device) -> tuple[Tensor, Tensor]:
        """A part's images and labels on the device that trains, made on first use and kept there."""
        if name not in self._on_device:
            images, labels = self.splits[name]
            self._on_device[name] = (
                torch.from_numpy(mnist.scale(images)).unsqueeze(1).to(device),
                torch.from_numpy(labels.astype(np.int64)).to(device),
            )
        return self._on_device[name]
