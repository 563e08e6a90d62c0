"""The network, its loss and its steps as a LightningModule."""

from dataclasses import asdict
from typing import Any, cast

import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from cnn_mnist.architecture.initial_weights import Rule, initial_weights
from cnn_mnist.architecture.trace import layers_of
from cnn_mnist.pytorch.every_step import SparingModule
from cnn_mnist.pytorch.loader import Batch
from cnn_mnist.pytorch.metrics import LossAndAccuracy, Predictions
from cnn_mnist.pytorch.network import build_network, load_weights
from cnn_mnist.pytorch.optimizers import make_optimizer
from cnn_mnist.runs import tags
from cnn_mnist.settings import ModelSettings, cosine_factor

TEST_SPLITS: tuple[tags.SplitName, ...] = ("test", "train_eval")
"""What the loaders given to ``Trainer.test`` are, in their order; the second is optional."""


class Classifier(SparingModule):
    """A CNN that emits logits, trained by cross-entropy from logits.

    Args:
        **settings: The fields of ``ModelSettings``.

    Raises:
        UserError: A setting is out of its range.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = ModelSettings(**settings)
        self.save_hyperparameters(asdict(self.settings))
        self.layers = layers_of(self.settings.architecture)
        self.network = build_network(self.layers)
        rule: Rule = "keras" if self.settings.align == "keras" else "pytorch"
        load_weights(self.network, initial_weights(self.layers, rule, self.settings.seed), self.layers)
        splits: tuple[tags.SplitName, ...] = ("train", "val", *TEST_SPLITS)
        self.metrics = nn.ModuleDict({f"{split}_metric": LossAndAccuracy() for split in splits})
        self.predictions = Predictions()

    def setup(self, stage: str) -> None:
        """Has a GPU compute in full float32 where Keras is the measure; TensorFlow's TF32 is off likewise."""
        if self.settings.align == "keras":
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False

    def forward(self, images: Tensor) -> Tensor:
        """Images float [batch, 1, 28, 28] in [0, 1] to logits [batch, 10]."""
        return self.network(images)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of this process's share; averaged over the processes it is the mean of the whole batch."""
        loss_sum, _ = self._shared_step(batch, "train")
        # Not the share's own mean: shares of a batch that the processes do not divide differ by one image.
        return loss_sum * (self.trainer.world_size / batch.size)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds the batch to ``val/*``."""
        self._shared_step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Adds the batch to ``test/*``, or from a second loader to ``train_eval/*``."""
        split = TEST_SPLITS[dataloader_idx]
        _, logits = self._shared_step(batch, split)
        if split == "test":
            self.predictions.update(batch.indices, logits)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """``{"index": [batch], "digit": [batch], "probabilities": [batch, 10]}``."""
        probabilities = self(batch.images).float().softmax(dim=1)
        return {
            "index": batch.indices,
            "digit": probabilities.argmax(dim=1),
            "probabilities": probabilities,
        }

    def on_train_epoch_end(self) -> None:
        """Logs ``train/*``, the running means over the epoch."""
        self._log_split("train")

    def on_validation_epoch_end(self) -> None:
        """Logs ``val/*``."""
        self._log_split("val")

    def on_test_epoch_end(self) -> None:
        """Logs ``test/*`` and, where its loader was given, ``train_eval/*``."""
        for split in TEST_SPLITS:
            self._log_split(split)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer of the settings, with Keras's formula or PyTorch's as ``align`` says, and its schedule."""
        optimizer = make_optimizer(self.network.parameters(), self.settings)
        if self.settings.schedule == "constant":
            return optimizer
        steps, warmup = int(self.trainer.estimated_stepping_batches), self.settings.warmup
        schedule = LambdaLR(optimizer, lambda step: cosine_factor(step, steps, warmup))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _shared_step(self, batch: Batch, split: tags.SplitName) -> tuple[Tensor, Tensor]:
        """Adds the batch to the split's metrics; gives the sum of its losses [] and its logits [batch, 10]."""
        logits = self(batch.images)
        scores = logits.softmax(dim=1) if self.settings.softmax_before_loss else logits
        smoothing = self.settings.label_smoothing
        loss_sum = F.cross_entropy(scores, batch.labels, reduction="sum", label_smoothing=smoothing)
        self._metric(split).update(loss_sum.detach(), logits.detach(), batch.labels)
        return loss_sum, logits

    def _metric(self, split: tags.SplitName) -> LossAndAccuracy:
        return cast(LossAndAccuracy, self.metrics[f"{split}_metric"])

    def _log_split(self, split: tags.SplitName) -> None:
        # Once an epoch and by hand: self.log in every step costs more than the step's metrics, and Lightning
        # would count an epoch's end as one update less and add a tag of its own.
        metric = self._metric(split)
        if not metric.update_called or self.trainer.sanity_checking:
            metric.reset()
            return
        values = {tags.tag(split, name): value for name, value in metric.compute().items()}
        metric.reset()
        self.log_dict(values, logger=False, prog_bar=True, rank_zero_only=True)
        for logger in self.loggers:
            logger.log_metrics({name: value.item() for name, value in values.items()}, step=self.global_step)
