"""Batches of a data set in memory, resumable within an epoch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cnn_mnist.data.augmentation import Augmentation
from cnn_mnist.data.mnist import scale
from cnn_mnist.data.order import batch_count, batch_slices, epoch_order
from cnn_mnist.data.splits import evaluation_batch_size
from cnn_mnist.errors import expect


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """Converts images uint8 [n, height, width, channels] to float32 [n, channels, height, width] in [0, 1]."""
    return torch.from_numpy(scale(np.moveaxis(images, 3, 1)))


def outputs_of(module: nn.Module, images: Tensor) -> NDArray[np.floating]:
    """Computes the outputs of a module for images [n, channels, height, width], in batches for evaluation."""
    with torch.inference_mode():
        return torch.cat([module(batch) for batch in images.split(evaluation_batch_size(images.shape[2:]))]).numpy()


@dataclass(eq=False)
class Batch:
    """One process's share of a batch; unpacks as ``images, labels = batch``.

    Attributes:
        images: float32 [share, channels, height, width] in [0, 1].
        labels: int64 [share].
        indices: Number of each image in its data set, int64 [share].
        size: Images in the batch over all processes, whose shares may differ by one image.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    size: int

    @classmethod
    def of(cls, batch: Any, world_size: int = 1) -> "Batch":
        """Converts a pair (images, labels) of another loader, whose shares are equal.

        Its images are numbered within the share.
        """
        if isinstance(batch, cls):
            return batch
        images, labels = batch
        return cls(images, labels, torch.arange(len(labels), device=labels.device), len(labels) * world_size)

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.images, self.labels))

    def to(self, device: torch.device) -> "Batch":
        """Returns the batch itself, which is already on the training device."""
        return self


@dataclass(eq=False, repr=False)
class Loader:
    """Iterates over the batches of an epoch; each process takes its share of every batch.

    Implements Lightning's protocols: ``sampler.set_epoch`` for the epoch, ``state_dict`` and ``load_state_dict`` for
    the position within it.

    Args:
        images: float32 [n, channels, height, width], on the training device.
        labels: int64 [n], on the same device.
        batch_size: Images in a batch, over all processes.
        seed: Seed of the order; None for the order of the data set.
        rank: Number of this process.
        world_size: Number of processes.
        augmentation: Creates the images of each batch; None for unchanged images.
    """

    images: Tensor
    labels: Tensor
    batch_size: int
    seed: int | None = None
    rank: int = 0
    world_size: int = 1
    augmentation: Augmentation | None = None

    batch_sampler: ClassVar = None  # Lightning reads it next to ``sampler``

    def __post_init__(self) -> None:
        self.epoch = 0
        self.position = 0  # batches of this epoch already returned
        self._first = 0  # first batch of the next iteration

    def __len__(self) -> int:
        return batch_count(len(self.labels), self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        size = len(self.labels)
        if self.seed is None:
            order = torch.arange(size, device=self.images.device)
        else:
            order = torch.from_numpy(epoch_order(size, self.seed, self.epoch)).to(self.images.device)
        self.position, self._first = self._first, 0
        for place in list(batch_slices(size, self.batch_size, first=self.position)):
            self.position += 1
            indices = order[place][self.rank :: self.world_size]
            if self.augmentation is None:
                images = self.images[indices]
            else:
                moved = np.moveaxis(self.augmentation.batch(indices.cpu().numpy(), self.epoch), 3, 1)
                images = torch.from_numpy(moved.copy(order="C")).to(self.images.device)
            yield Batch(images, self.labels[indices], indices, place.stop - place.start)

    @property
    def sampler(self) -> "Loader":
        """The loader itself, on which Lightning calls ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Moves to the start of another epoch; keeps a restored position within the same one."""
        if epoch != self.epoch:
            self.epoch, self._first = epoch, 0

    def state_dict(self) -> dict[str, Any]:
        """Returns seed, batch size, epoch and number of batches already returned."""
        return {name: getattr(self, name) for name in ("seed", "batch_size", "epoch", "position")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the result of ``state_dict``.

        Raises:
            UserError: Seed or batch size differs, so the order of the data differs.
        """
        for name in ("seed", "batch_size"):
            kept, own = state[name], getattr(self, name)
            expect(name, kept == own, f"the checkpoint's {kept}", f"{own}; use the same {name}")
        self.epoch, self._first = state["epoch"], state["position"]
