"""Measures and logs loss and accuracy of each split, and collects the test predictions."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import CatMetric, MeanMetric, Metric
from torchmetrics.classification import MulticlassAccuracy

from cnn_mnist.console.results import print_results
from cnn_mnist.runs import tags
from cnn_mnist.settings import ModelSettings

# float64 sums keep an epoch's mean exact to 1e-6; Apple's GPUs have no float64.
_SUM_DTYPE = torch.float32 if torch.backends.mps.is_available() else torch.float64


def make_metric(name: str, classes: int) -> Metric:
    """Creates a metric over all samples since the last reset, without checks, which would wait for the GPU.

    Args:
        name: ``"loss"`` for a mean, ``"acc"`` for the micro accuracy.
        classes: Number of classes.
    """
    if name == "acc":
        return MulticlassAccuracy(classes, average="micro", validate_args=False)
    # Without checks MeanMetric ignores weights, so it gets the loss of every sample.
    return MeanMetric(nan_strategy="disable").set_dtype(_SUM_DTYPE)


class MeasuredModule(LightningModule):
    """A classifier that measures and logs its splits; the interface that the callbacks use.

    Args:
        settings: The model's settings.

    Attributes:
        means: Loss and accuracy metrics of each split.
        predictions: Number and probabilities of each test image so far, rows of [n, 1 + classes].
        figures: Loss and accuracy of the current epoch, by tag.
    """

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        splits: tuple[tags.SplitName, ...] = ("train", "val", *tags.EVALUATED)
        classes = settings.network.classes
        self.means = {split: {name: make_metric(name, classes) for name in tags.METRICS} for split in splits}
        # Registered as modules, so that they move to the device.
        self.metrics = nn.ModuleList([metric for means in self.means.values() for metric in means.values()])
        self.predictions = CatMetric(nan_strategy="disable")
        self.figures: dict[str, float] = {}
        self._prints_results = False

    def measure(self, split: tags.SplitName, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch: losses [batch], logits [batch, classes], labels [batch]."""
        means = self.means[split]
        means["loss"].update(losses.detach())
        means["acc"].update(logits.detach(), labels)

    def take_predictions(self) -> tuple[Tensor, Tensor]:
        """Returns and forgets the predictions: numbers int64 [n], ascending, and probabilities float32 [n, classes]."""
        rows = self.predictions.compute()  # of all processes
        self.predictions.reset()
        rows = rows[rows[:, 0].argsort()]
        return rows[:, 0].long(), rows[:, 1:]

    def on_train_epoch_start(self) -> None:
        """Clears the figures of the previous epoch."""
        self.figures.clear()

    def log_step(self, batch_idx: int) -> None:
        """Logs ``train/*``, running means over the epoch, every ``log_every_n_steps`` steps and at its end.

        ``TrainingLog`` calls it, because a checkpoint of the step is written before the module's own hook.
        """
        trainer: Any = self.trainer
        every, last = trainer.log_every_n_steps, trainer.is_last_batch
        if last or (every and (batch_idx + 1) % every == 0):
            self.log_split("train", reset=last)

    def on_train_epoch_end(self) -> None:
        """Logs ``train/*`` if the epoch ended before its last batch."""
        self.log_split("train")

    def on_validation_epoch_end(self) -> None:
        """Logs ``val/*``."""
        self.log_split("val")

    def on_test_epoch_end(self) -> None:
        """Logs ``test/*`` and, with a second loader, ``train_eval/*``."""
        for split in tags.EVALUATED:
            self.log_split(split)

    def on_test_start(self) -> None:
        """Replaces Lightning's table, which repeats every value in a column for each loader."""
        self._replace_table(self.trainer.test_loop)

    def on_test_end(self) -> None:
        """Prints the results, unless ``verbose=False`` was passed to the trainer."""
        if self._prints_results and self.trainer.is_global_zero:
            known = [tags.tag(split, name) for split in ("val", *tags.EVALUATED) for name in tags.METRICS]
            logged = self.trainer.callback_metrics
            print_results({tag: float(logged[tag]) for tag in known if tag in logged}, None)
        self._prints_results = False

    def on_validation_start(self) -> None:
        """Replaces Lightning's table of ``Trainer.validate``."""
        if self.trainer.state.fn == "validate":
            self._replace_table(self.trainer.validate_loop)

    on_validation_end = on_test_end

    def _replace_table(self, loop: Any) -> None:
        self._prints_results, loop.verbose = loop.verbose, False

    def means_of(self, split: tags.SplitName) -> dict[str, Tensor]:
        """Computes a split's means by tag; empty if it has seen no batch since the last reset."""
        metrics = {tags.tag(split, name): metric for name, metric in self.means[split].items()}
        seen = all(metric.update_called for metric in metrics.values())
        return {tag: metric.compute() for tag, metric in metrics.items()} if seen else {}

    def log_split(self, split: tags.SplitName, *, reset: bool = True) -> None:
        """Logs a split's means, if it has any, at the current number of updates."""
        if not self.trainer.sanity_checking and (values := self.means_of(split)):
            numbers = {tag: value.item() for tag, value in values.items()}  # each read waits for the GPU
            self.figures |= numbers
            if split == "train":
                # Not through Lightning, which logs an epoch's end one update early and adds a tag.
                self.log_dict(values, logger=False, prog_bar=True, rank_zero_only=True)
                for logger in self.loggers:
                    logger.log_metrics(tags.with_curves(numbers), self.global_step)
            else:
                self.log_dict(values | {"step": torch.tensor(float(self.global_step))}, rank_zero_only=True)
        if reset:
            for metric in self.means[split].values():
                metric.reset()
