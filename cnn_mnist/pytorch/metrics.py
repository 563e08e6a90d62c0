"""Measures and logs loss and accuracy of each split, and the test predictions, over batches and processes."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.utilities import dim_zero_cat

from cnn_mnist.runs import tags
from cnn_mnist.settings import ModelSettings

TEST_SPLITS: tuple[tags.SplitName, ...] = ("test", "train_eval")
"""What the loaders given to ``Trainer.test`` are, in their order; the second is optional."""

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

    def compute(self) -> tuple[Tensor, Tensor]:
        """(indices, probabilities), sorted by index."""
        indices, probabilities = dim_zero_cat(self.indices), dim_zero_cat(self.probabilities)
        order = indices.argsort()
        return indices[order], probabilities[order]


class MeasuredModule(LightningModule):
    """A classifier whose splits are measured and logged: what the callbacks know of it.

    Args:
        settings: The model's.

    Attributes:
        means: Loss and accuracy of each split, by ``METRICS``.
        predictions: Those on the test set.
        figures: Loss and accuracy of the epoch that runs, by tag.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        splits: tuple[tags.SplitName, ...] = ("train", "val", *TEST_SPLITS)
        classes = settings.network.classes
        self.means = {split: {name: make_metric(name, classes) for name in tags.METRICS} for split in splits}
        # Registered, so that they move to the device of the module.
        self.metrics = nn.ModuleList([metric for means in self.means.values() for metric in means.values()])
        self.predictions = Predictions()
        self.figures: dict[str, float] = {}

    def measure(self, split: tags.SplitName, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch: losses [batch], logits [batch, classes], labels [batch]."""
        means = self.means[split]
        means["loss"].update(losses.detach())
        means["acc"].update(logits.detach(), labels)

    def on_train_epoch_start(self) -> None:
        """An epoch has its own figures."""
        self.figures.clear()

    def log_step(self, batch_idx: int) -> None:
        """Logs ``train/*``, the running means over the epoch: at its end, and every so many steps before.

        ``TrainingLog`` calls it, since a checkpoint of the step is written before the module's own hook.
        """
        trainer: Any = self.trainer
        every, last = trainer.log_every_n_steps, trainer.is_last_batch
        if last or (every and (batch_idx + 1) % every == 0):
            self.log_split("train", reset=last)

    def on_train_epoch_end(self) -> None:
        """Logs ``train/*`` of an epoch that ended before its last batch."""
        self.log_split("train")

    def on_validation_epoch_end(self) -> None:
        """Logs ``val/*``."""
        self.log_split("val")

    def on_test_epoch_end(self) -> None:
        """Logs ``test/*`` and, where its loader was given, ``train_eval/*``."""
        for split in TEST_SPLITS:
            self.log_split(split)

    def log_split(self, split: tags.SplitName, *, reset: bool = True) -> None:
        """Logs a split's means, where it has any, at the number of updates done so far."""
        metrics = {tags.tag(split, name): metric for name, metric in self.means[split].items()}
        if all(metric.update_called for metric in metrics.values()) and not self.trainer.sanity_checking:
            values = {tag: metric.compute() for tag, metric in metrics.items()}
            numbers = {tag: value.item() for tag, value in values.items()}  # here alone: each look waits for a GPU
            self.figures |= numbers
            if split == "train":
                # By hand: Lightning would count an epoch's end as one update less, and add a tag of its own.
                self.log_dict(values, logger=False, prog_bar=True, rank_zero_only=True)
                for logger in self.loggers:
                    logger.log_metrics(tags.with_curves(numbers), self.global_step)
            else:
                self.log_dict(values | {"step": torch.tensor(float(self.global_step))}, rank_zero_only=True)
        if reset:
            for metric in metrics.values():
                metric.reset()
