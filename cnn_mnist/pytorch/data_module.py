"""Lightning's data module for MNIST or another data set, kept in memory and scaled once."""

import inspect
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor

from cnn_mnist.data.augmentation import Augmentation, augmentation
from cnn_mnist.data.order import check_shares, largest_shared_size
from cnn_mnist.data.splits import Split, check_network, evaluation_batch_size, load_splits
from cnn_mnist.pytorch.loader import Loader, to_tensor
from cnn_mnist.settings import DataSettings, ModelSettings, check_names


class MNISTDataModule(LightningDataModule):
    """MNIST or another data set in memory.

    Example:
        >>> images, labels = next(iter(MNISTDataModule().train_dataloader()))
        >>> images.shape
        torch.Size([64, 1, 28, 28])

    Args:
        **settings: Any field of ``DataSettings``; ``help(cnn_mnist.DataSettings)`` explains them.

    Attributes:
        splits: ``"train"``, ``"val"`` and ``"test"`` as uint8; empty before they are loaded.

    Raises:
        UserError: A setting is unknown or out of range; or at first use: the data are missing or damaged, do not fit
            the trainer's network, or are too few for the settings.
    """

    __signature__ = inspect.signature(DataSettings)

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        check_names(DataSettings, settings)
        self.settings = DataSettings(**settings)
        self.save_hyperparameters(asdict(self.settings), logger=False)  # Lightning refuses two seeds that differ
        self.splits: dict[str, Split] = {}
        self._on_device: dict[tuple[str, torch.device], tuple[Tensor, Tensor]] = {}

    def prepare_data(self) -> None:
        """Loads the data, and checks settings, the trainer's network and its processes against them."""
        trainer = self.trainer
        self.check(getattr(trainer, "lightning_module", None), trainer.world_size if trainer else 1)

    def check(self, module: LightningModule | None, processes: int = 1) -> None:
        """Loads the data, and checks settings, network and number of processes against them.

        Args:
            module: The network's module; only a ``Classifier`` is checked.
            processes: Number of the processes that share each batch.

        Raises:
            UserError: They do not fit.
        """
        self._load()
        check_shares(self.settings.batch_size, len(self.splits["train"].labels), processes)
        settings = getattr(module, "settings", None)
        if isinstance(settings, ModelSettings):
            check_network(self.splits["test"], settings.network.input_shape, settings.network.classes)

    def setup(self, stage: str) -> None:
        """Loads the data, in every process."""
        self._load()

    def train_dataloader(self) -> Loader:
        """Returns the training split, in the order of (seed, epoch)."""
        self._load()
        augmented = augmentation(self.splits["train"], self.settings)
        return self._loader("train", self.settings.batch_size, self.settings.seed, augmented)

    def val_dataloader(self) -> Loader | list[Loader]:
        """Returns the validation split; an empty list without one, which Lightning skips."""
        if self.settings.val_size == 0:
            return []
        return self._loader("val")

    def train_eval_dataloader(self) -> Loader:
        """Returns the training split for evaluation, in order and in large batches."""
        return self._loader("train")

    def test_dataloader(self) -> Loader | list[Loader]:
        """Returns the test set; after a fit, followed by the training split unless train_eval is off."""
        loader, trainer = self._loader("test"), self.trainer
        if self.settings.train_eval and trainer is not None and trainer.testing and trainer.global_step:
            return [loader, self.train_eval_dataloader()]
        return loader

    def _load(self) -> None:
        self.splits = self.splits or load_splits(self.settings)

    def _loader(
        self, name: str, batch_size: int = 0, seed: int | None = None, augmented: Augmentation | None = None
    ) -> Loader:
        """Returns a loader in order and in large batches, unless a size and a seed are given."""
        device, rank, world_size = torch.device("cpu"), 0, 1
        if trainer := self.trainer:
            device, rank, world_size = trainer.strategy.root_device, trainer.global_rank, trainer.world_size
        tensors = self._tensors(name, device)
        most = evaluation_batch_size(self.splits[name].image_shape)
        size = batch_size or largest_shared_size(most, len(self.splits[name].labels), world_size)
        return Loader(*tensors, size, seed, rank, world_size, augmented)

    def _tensors(self, name: str, device: torch.device) -> tuple[Tensor, Tensor]:
        """Returns a split's images and labels on the training device, copied there at first use."""
        self._load()
        if (name, device) not in self._on_device:
            split = self.splits[name]
            labels = torch.from_numpy(split.labels.astype(np.int64))
            self._on_device[name, device] = to_tensor(split.images).to(device), labels.to(device)
        return self._on_device[name, device]
