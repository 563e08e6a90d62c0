"""MNIST, or another data set, for Lightning: the whole set in memory, scaled once."""

import inspect
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor

from cnn_mnist.data.augmentation import Augmentation, augmentation
from cnn_mnist.data.splits import Split, check_network, evaluation_batch_size, load_splits
from cnn_mnist.pytorch.loader import Loader, to_tensor
from cnn_mnist.settings import DataSettings, ModelSettings, check_names


class MNISTDataModule(LightningDataModule):
    """MNIST, or the data set that is named, in memory: uint8 as found, float32 in [0, 1] where it is trained on.

    Example:
        >>> images, labels = next(iter(MNISTDataModule().train_dataloader()))
        >>> images.shape
        torch.Size([64, 1, 28, 28])

    Args:
        **settings: The fields of ``DataSettings``, see there.

    Attributes:
        splits: ``"train"``, ``"val"`` and ``"test"`` as found, once they are loaded.

    Raises:
        UserError: A setting is unknown or out of its range; when the data are first needed, they are missing or
            others, do not fit the network that a trainer has, or are too few for the settings.
    """

    __signature__ = inspect.signature(DataSettings)

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        check_names(DataSettings, settings)
        self.settings = DataSettings(**settings)
        self.save_hyperparameters(asdict(self.settings))
        self.splits: dict[str, Split] = {}
        self._on_device: dict[tuple[str, torch.device], tuple[Tensor, Tensor]] = {}

    def prepare_data(self) -> None:
        """Finds or makes the data, and checks settings and the trainer's network against them."""
        self.check(getattr(self.trainer, "lightning_module", None))

    def check(self, module: LightningModule | None) -> None:
        """Loads the data and checks settings and network against them; ``fit`` does it before it makes a folder."""
        self._load()
        settings = getattr(module, "settings", None)
        if isinstance(settings, ModelSettings):
            check_network(self.splits["test"], settings.network.input_shape, settings.network.classes)

    def setup(self, stage: str) -> None:
        """Reads the data, in every process."""
        self._load()

    def train_dataloader(self) -> Loader:
        """The training split, in the order of (seed, epoch)."""
        self._load()
        moved = augmentation(self.splits["train"], self.settings)
        return self._loader("train", self.settings.batch_size, self.settings.seed, moved)

    def val_dataloader(self) -> Loader | list[Loader]:
        """The validation split; an empty list where there is none, which Lightning skips."""
        if self.settings.val_size == 0:
            return []
        return self._loader("val")

    def train_eval_dataloader(self) -> Loader:
        """The training split for evaluation: in order, in large batches."""
        return self._loader("train")

    def test_dataloader(self) -> Loader | list[Loader]:
        """The test set, whole; to a trainer that tests what it has trained, as a rule the training split behind it."""
        loader, trainer = self._loader("test"), self.trainer
        if self.settings.train_eval and trainer is not None and trainer.testing and trainer.global_step:
            return [loader, self.train_eval_dataloader()]
        return loader

    def _load(self) -> None:
        self.splits = self.splits or load_splits(self.settings)

    def _loader(
        self, name: str, batch_size: int = 0, seed: int | None = None, moved: Augmentation | None = None
    ) -> Loader:
        """In order and in large batches, unless a size and a seed are given."""
        device, rank, world_size = torch.device("cpu"), 0, 1
        if trainer := self.trainer:
            device, rank, world_size = trainer.strategy.root_device, trainer.global_rank, trainer.world_size
        tensors = self._tensors(name, device)
        size = batch_size or evaluation_batch_size(self.splits[name].image_shape)
        return Loader(*tensors, size, seed, rank, world_size, moved)

    def _tensors(self, name: str, device: torch.device) -> tuple[Tensor, Tensor]:
        """A split's images and labels on the device that trains, made on first use and kept there."""
        self._load()
        if (name, device) not in self._on_device:
            split = self.splits[name]
            labels = torch.from_numpy(split.labels.astype(np.int64))
            self._on_device[name, device] = to_tensor(split.images).to(device), labels.to(device)
        return self._on_device[name, device]
