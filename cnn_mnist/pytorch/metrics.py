"""Loss and accuracy of a split, and the predictions on the test set, over batches and processes."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.utilities import dim_zero_cat

# Sums in float64 keep an epoch's mean exact to 1e-6; Apple's GPUs have no float64.
_SUM_DTYPE = torch.float32 if torch.backends.mps.is_available() else torch.float64


def make_metric(name: str, classes: int) -> Metric:
    """A mean, for ``"loss"``, or a micro accuracy, for ``"acc"``, over all samples since the last reset.

    Neither checks its values, which would have a GPU waited for in every step; NaN stays NaN.
    """
    if name == "acc":
        return MulticlassAccuracy(classes, average="micro", validate_args=False)
    # It drops its weights together with its checks, so it is given the loss of every sample.
    return MeanMetric(nan_strategy="disable").set_dtype(_SUM_DTYPE)


class Predictions(Metric):
    """The probabilities of every sample seen, in the order of the data set.

    ``compute`` gives (indices int64 [n], probabilities float32 [n, classes]), sorted by index.
    """

    full_state_update = False
    indices: list[Tensor]
    probabilities: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("indices", [], dist_reduce_fx="cat")
        self.add_state("probabilities", [], dist_reduce_fx="cat")

    def update(self, indices: Tensor, logits: Tensor) -> None:
        """Adds a batch: indices int64 [batch], logits [batch, classes]."""
        self.indices.append(indices)
        self.probabilities.append(logits.float().softmax(dim=1))

    def compute(self) -> Any:
        """(indices, probabilities), sorted by index."""
        indices, probabilities = dim_zero_cat(self.indices), dim_zero_cat(self.probabilities)
        order = indices.argsort()
        return indices[order], probabilities[order]
