"""Loss and accuracy of a split, and the predictions on the test set, summed over batches and processes."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

# Sums in float64 keep an epoch's mean exact to 1e-6; Apple's GPUs have no float64.
_SUM_DTYPE = torch.float32 if torch.backends.mps.is_available() else torch.float64


class LossAndAccuracy(Metric):
    """Mean cross-entropy and micro accuracy over all samples since the last reset.

    One object with three sums: a step costs three additions, and partial batches weigh what they hold.
    """

    full_state_update = False
    loss_sum: Tensor
    correct: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("loss_sum", torch.zeros((), dtype=_SUM_DTYPE), dist_reduce_fx="sum")
        self.add_state("correct", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, loss_sum: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch.

        Args:
            loss_sum: Sum (not mean) of the samples' losses, in nats, [].
            logits: [batch, 10].
            labels: int64 [batch].
        """
        self.loss_sum += loss_sum
        self.correct += (logits.argmax(dim=1) == labels).sum()
        self.count += len(labels)

    def compute(self) -> dict[str, Tensor]:
        """``{"loss": nats, "acc": fraction in [0, 1]}``."""
        return {"loss": self.loss_sum / self.count, "acc": self.correct / self.count}


class Predictions(Metric):
    """The probabilities of every sample seen, in the order of the data set.

    ``compute`` gives (indices int64 [n], probabilities float32 [n, 10]), sorted by index.
    """

    full_state_update = False
    indices: list[Tensor]
    probabilities: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("indices", [], dist_reduce_fx="cat")
        self.add_state("probabilities", [], dist_reduce_fx="cat")

    def update(self, indices: Tensor, logits: Tensor) -> None:
        """Adds a batch: indices int64 [batch], logits [batch, 10]."""
        self.indices.append(indices)
        self.probabilities.append(logits.float().softmax(dim=1))

    def compute(self) -> Any:
        """(indices, probabilities), sorted by index."""
        indices, probabilities = dim_zero_cat(self.indices), dim_zero_cat(self.probabilities)
        order = indices.argsort()
        return indices[order], probabilities[order]
