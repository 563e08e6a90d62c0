"""The LightningModule: network, loss, steps and optimizer."""

import inspect
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import RichModelSummary, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from cnn_mnist.architecture.initial_weights import initial_weights
from cnn_mnist.pytorch.callbacks import RunRecord
from cnn_mnist.pytorch.checkpoint_callback import checkpoint_callbacks, restore_progress
from cnn_mnist.pytorch.loader import Batch
from cnn_mnist.pytorch.logger import RunLogger
from cnn_mnist.pytorch.metrics import MeasuredModule
from cnn_mnist.pytorch.monitors import fit_monitors
from cnn_mnist.pytorch.network import build_network, load_weights
from cnn_mnist.pytorch.notices import quieten_lightning
from cnn_mnist.pytorch.optimizers import attach_schedule, clip_by_global_norm, make_optimizer, placeholder_schedule
from cnn_mnist.pytorch.processes import EndTogether
from cnn_mnist.pytorch.progress import LayerTable, LineProgressBar
from cnn_mnist.pytorch.training_log import StopOnNonFiniteLoss, TrainingLog
from cnn_mnist.pytorch.whole_batch import act_on_whole_batches, settle_order
from cnn_mnist.runs import tags
from cnn_mnist.runs.folder import LOG_DIR, PYTORCH
from cnn_mnist.schedules import check_length
from cnn_mnist.settings import ModelSettings, check_names


class Classifier(MeasuredModule):
    """A CNN that emits logits, trained with cross-entropy from logits.

    A ``Trainer`` that trains it writes the run folder ``lightning_logs/pytorch/version_N``.

    Example:
        >>> model, data, trainer = Classifier(learning_rate=0.01), MNISTDataModule(), Trainer(max_epochs=1)
        >>> trainer.fit(model, data)
        >>> trainer.test(model, data)

    Args:
        **settings: Any field of ``ModelSettings``; ``help(cnn_mnist.ModelSettings)`` explains them.

    Raises:
        UserError: A setting is unknown or out of range.
    """

    __signature__ = inspect.signature(ModelSettings)

    def __init__(self, **settings: Any) -> None:
        quieten_lightning()
        check_names(ModelSettings, settings)
        super().__init__(ModelSettings(**settings))
        self.save_hyperparameters(asdict(self.settings))
        described, align, seed = self.settings.network, self.settings.align, self.settings.seed
        self.network = build_network(described, align, seed)
        weights = initial_weights(described, "keras" if align == "keras" else "pytorch", seed)
        load_weights(self.network, weights, described)

    def configure_callbacks(self) -> Sequence[Callback]:
        """Adds the callbacks that write the run folder, and replaces Lightning's progress bar and layer table.

        Also replaces the default logger by one that logs where the commands do; an evaluation alone logs nothing.

        Raises:
            UserError: A callback monitors an unknown tag, or a schedule needs a training with an end.
        """
        trainer: Any = self.trainer
        fitting = trainer.state.fn == "fit"
        present = set(map(type, trainer.callbacks))  # a fit's stay for its test
        if fitting:
            fit_monitors(trainer, self)
            check_length(self.settings, trainer.max_steps if trainer.max_epochs == -1 else 1)
        contract: tuple[type[Callback], ...] = (TrainingLog, RunRecord, StopOnNonFiniteLoss)
        ours = [kind() for kind in contract if fitting or kind not in present]
        ours += [EndTogether(trainer)] * (fitting or EndTogether not in present)
        for theirs, replacement in (RichProgressBar, LineProgressBar), (RichModelSummary, LayerTable):
            kept = [callback for callback in trainer.callbacks if type(callback) is not theirs]
            ours += [replacement()] * (len(kept) < len(trainer.callbacks))
            trainer.callbacks = kept
        for place, logger in enumerate(trainer.loggers):
            if type(logger) is TensorBoardLogger and logger.name == LOG_DIR:
                run_logger = RunLogger(Path(logger.save_dir, LOG_DIR), PYTORCH, default_hp_metric=False)
                trainer.loggers[place : place + 1] = [run_logger] if fitting else []
        return ours + (checkpoint_callbacks(trainer) if fitting else [])

    def setup(self, stage: str) -> None:
        """Prepares float64 weights before a checkpoint is loaded, and disables TF32 with align=keras."""
        if self.trainer.precision == "64-true":  # Lightning casts the module only after loading a checkpoint
            self.network.double()
        if self.trainer.world_size > 1:
            act_on_whole_batches(self.network)
        if self.settings.align == "keras":
            torch.backends.cudnn.allow_tf32 = False
            torch.backends.cuda.matmul.allow_tf32 = False

    def on_fit_start(self) -> None:
        """Settles the order in which several processes sum their gradients."""
        if isinstance(model := self.trainer.model, DistributedDataParallel):
            height, width, channels = self.settings.network.input_shape
            settle_order(model, (channels, height, width))

    def forward(self, images: Tensor) -> Tensor:
        """Maps images float [batch, channels, height, width] in [0, 1] to logits [batch, classes]."""
        return self.network(images)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Returns this process's loss, scaled so that the average over processes is the mean of the batch."""
        loss_sum, _ = self._shared_step(batch, "train")
        # Not the mean of the share, because shares may differ by one image.
        return loss_sum * (self.trainer.world_size / Batch.of(batch, self.trainer.world_size).size)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds the batch to ``val/*``."""
        self._shared_step(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Adds the batch to ``test/*``, or for the second loader to ``train_eval/*``."""
        split = tags.EVALUATED[dataloader_idx]
        _, logits = self._shared_step(batch, split)
        if split == "test":
            self.predictions.update(torch.column_stack([Batch.of(batch).indices, logits.float().softmax(dim=1)]))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Returns optimizer and schedule of the settings; ``align`` chooses Keras's formula or PyTorch's."""
        optimizer = make_optimizer(self.network.parameters(), self.settings)
        if self.settings.schedule == "constant" and not self.settings.warmup:
            return optimizer
        schedule: Any = {"scheduler": LambdaLR(optimizer, placeholder_schedule), "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": schedule}

    def on_train_start(self) -> None:
        """Restores the progress of a converted checkpoint, and attaches the schedule."""
        restore_progress(self.trainer)
        attach_schedule(self.trainer, self.settings)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clips by the global norm; ``align`` chooses Keras's formula or PyTorch's."""
        limit = gradient_clip_val or 0.0
        if self.settings.align == "keras" and limit > 0 and gradient_clip_algorithm in (None, "norm"):
            clip_by_global_norm((param for group in optimizer.param_groups for param in group["params"]), limit)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def _shared_step(self, batch: Batch, split: tags.SplitName) -> tuple[Tensor, Tensor]:
        """Adds the batch to the split's metrics; returns the sum of its losses [] and its logits [batch, classes]."""
        images, labels = batch
        logits = self(images)
        scores = logits.softmax(dim=1) if self.settings.softmax_before_loss else logits
        smoothing = self.settings.label_smoothing
        losses = F.cross_entropy(scores, labels, reduction="none", label_smoothing=smoothing)
        self.measure(split, losses, logits, labels)
        return losses.sum(), logits
