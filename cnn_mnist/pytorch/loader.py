"""Batches from a data set that lies in memory, resumable in the middle of an epoch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnn_mnist.data.augmentation import Augmentation
from cnn_mnist.data.mnist import scale
from cnn_mnist.data.order import batch_count, batch_slices, epoch_order
from cnn_mnist.errors import UserError


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """Images [n, height, width, channels] as float32 [n, channels, height, width] in [0, 1]."""
    return torch.from_numpy(scale(np.moveaxis(images, 3, 1)))


@dataclass(eq=False)
class Batch:
    """One process's share of a batch; ``images, labels = batch`` takes it apart.

    Attributes:
        images: float32 [share, channels, height, width] in [0, 1].
        labels: int64 [share].
        indices: Place of each image in its data set, int64 [share].
        size: Images in the whole batch, over all processes; a share may be smaller than the others by one.
    """

    images: Tensor
    labels: Tensor
    indices: Tensor
    size: int

    @classmethod
    def of(cls, batch: Any) -> "Batch":
        """A pair (images, labels) of somebody else's loader as a batch, its images numbered within it."""
        if isinstance(batch, cls):
            return batch
        images, labels = batch
        return cls(images, labels, torch.arange(len(labels), device=labels.device), len(labels))

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.images, self.labels))

    def to(self, device: torch.device) -> "Batch":
        """The batch as it is: it was cut on the device that trains."""
        return self


@dataclass(eq=False, repr=False)
class Loader:
    """Iterates over the batches of one epoch; every process takes its share of each.

    It speaks Lightning's two protocols: ``sampler.set_epoch`` for the epoch, and ``state_dict`` /
    ``load_state_dict`` for the place in it.

    Args:
        images: float32 [n, channels, height, width], on the device that trains.
        labels: int64 [n], there too.
        batch_size: Images in a batch, over all processes.
        seed: Seed of the order; None for the order of the data set.
        rank: Which process this is.
        world_size: Number of processes.
        augmentation: What makes each batch's images in place of the tensor; None for the images as they are.
    """

    images: Tensor
    labels: Tensor
    batch_size: int
    seed: int | None = None
    rank: int = 0
    world_size: int = 1
    augmentation: Augmentation | None = None

    batch_sampler: ClassVar = None  # Lightning asks where there is a sampler

    def __post_init__(self) -> None:
        self.epoch = 0
        self.position = 0  # batches of this epoch handed out so far
        self._first = 0  # batch at which the next iteration starts

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
            images = self.images[indices] if self.augmentation is None else self._augmented(indices)
            yield Batch(images, self.labels[indices], indices, place.stop - place.start)

    def _augmented(self, indices: Tensor) -> Tensor:
        assert self.augmentation is not None
        images = np.moveaxis(self.augmentation.batch(indices.cpu().numpy(), self.epoch), 3, 1)
        return torch.from_numpy(images.copy(order="C")).to(self.images.device)

    @property
    def sampler(self) -> "Loader":
        """Where Lightning looks for ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Goes to the start of another epoch; keeps a restored place in this one."""
        if epoch != self.epoch:
            self.epoch, self._first = epoch, 0

    def state_dict(self) -> dict[str, Any]:
        """The place in the data: seed, batch size, epoch and batches of it that were handed out."""
        return {name: getattr(self, name) for name in ("seed", "batch_size", "epoch", "position")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to a place that ``state_dict`` gave.

        Raises:
            UserError: The place belongs to another order of the data.
        """
        for name in ("seed", "batch_size"):
            if state[name] != getattr(self, name):
                raise UserError(
                    f"{name}: the checkpoint's run has {state[name]}, got {getattr(self, name)}; go on with its own"
                )
        self.epoch, self._first = state["epoch"], state["position"]
