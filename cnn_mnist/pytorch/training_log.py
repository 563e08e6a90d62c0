"""Logs a training, and adds to checkpoints all that an exact resume needs."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics import Metric

from cnn_mnist.pytorch.loader import Batch
from cnn_mnist.pytorch.logger import run_folder, run_logger
from cnn_mnist.pytorch.metrics import MeasuredModule
from cnn_mnist.pytorch.processes import refuse
from cnn_mnist.runs.resume import log_sizes
from cnn_mnist.runs.timing import Stopwatch


class TrainingLog(Callback):
    """Logs ``train/*``, ``time/*`` and ``throughput/*``; adds to checkpoints what Lightning omits."""

    def __init__(self) -> None:
        self.stopwatch = Stopwatch()
        self._setup_logged = False
        self._images = 0
        self._figures: dict[str, float] = {}
        self._random, self._loaded = _random_state(), False

    def on_save_checkpoint(  # type: ignore[override]
        self, trainer: Trainer, pl_module: MeasuredModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the metrics of the current epoch, the random state, the sizes of the log and the times."""
        checkpoint["sums"] = {name: _state(metric) for name, metric in pl_module.means["train"].items()}
        checkpoint["random"] = _random_state()
        if logger := run_logger(trainer):
            logger.experiment.flush()
            figures = {name: float(value) for name, value in trainer.callback_metrics.items()}
            state = {"images": self._images, "seconds": self.stopwatch.state(), "figures": figures}
            checkpoint["run"] = state | {"log": log_sizes(logger.log_dir)}

    def on_load_checkpoint(  # type: ignore[override]
        self, trainer: Trainer, pl_module: MeasuredModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restores what ``on_save_checkpoint`` added; log and times only in the same folder: another is a new run."""
        if "random" in checkpoint:
            self._random, self._loaded = checkpoint["random"], True
        metrics = pl_module.means["train"]
        for name, sums in checkpoint.get("sums", {}).items():
            for state, value in sums.items():
                setattr(metrics[name], state, value * trainer.is_global_zero)  # of all processes, so only once
        logger, state = run_logger(trainer), checkpoint.get("run")
        if logger and state and all(Path(logger.log_dir, name).exists() for name in state["log"]):
            self._setup_logged, self._images, self._figures = True, state["images"], state["figures"]
            self.stopwatch.load_state(state["seconds"])

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restores the random state, which PyTorch's own dropout uses, and starts the clock."""
        if self._loaded or trainer.world_size > 1:  # Lightning sets that of several processes back to the seed
            torch.set_rng_state(self._random["cpu"])
            if self._random["cuda"] and torch.cuda.is_available():
                torch.cuda.set_rng_state(self._random["cuda"][0])
        self.stopwatch.resume()  # a run resumed within an epoch has no on_train_epoch_start

    def on_train_epoch_start(self, *args: Any, **kwargs: Any) -> None:
        """Starts the clock."""
        self.stopwatch.resume()

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: MeasuredModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Counts the images and logs due running means; the first step ends the set-up time."""
        self._images += Batch.of(batch, trainer.world_size).size
        if not self._setup_logged:
            self._setup_logged = True
            self._synchronize(trainer)
            self._log(trainer, self.stopwatch.setup_done())
        pl_module.log_step(batch_idx)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops the clock."""
        self._synchronize(trainer)
        self.stopwatch.pause()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock again."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self.stopwatch.resume()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the epoch."""
        self._synchronize(trainer)
        self._log(trainer, self.stopwatch.epoch_done(self._images))
        self._images = 0

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Logs the whole training."""
        self._figures.clear()
        self._log(trainer, self.stopwatch.fit_done())

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restores the figures of a training that was stopped after its last epoch."""
        if self._figures:
            trainer.callback_metrics.update({name: torch.tensor(value) for name, value in self._figures.items()})
            self.on_train_end(trainer, pl_module)

    @staticmethod
    def _synchronize(trainer: Trainer) -> None:
        """Waits for a GPU, which still computes after the call of its step has returned."""
        if trainer.strategy.root_device.type != "cpu":
            torch.accelerator.synchronize()

    @staticmethod
    def _log(trainer: Trainer, values: dict[str, float]) -> None:
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in values.items()})
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)


class StopOnNonFiniteLoss(Callback):
    """Ends the training if the loss is NaN or infinite, and names the first such step.

    It checks many losses at once, because each check waits for the GPU.

    Args:
        every: Steps between two checks.
    """

    def __init__(self, every: int = 100) -> None:
        self.every = every
        self._losses: list[tuple[int, Tensor]] = []  # with its step

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        """Collects the step's loss."""
        self._losses.append((trainer.global_step, outputs["loss"]))
        if len(self._losses) == self.every:
            self._check(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks the remaining losses."""
        if self._losses:
            self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        steps, losses = zip(*self._losses, strict=True)
        total = trainer.strategy.reduce(torch.stack(losses).float(), reduce_op="sum")  # so that all processes end
        finite = np.isfinite(total.cpu().numpy())
        self._losses.clear()
        if not finite.all():
            where = f"step {steps[finite.argmin()]} of {run_folder(trainer) or 'a run without a log'}"
            refuse(trainer, f"expected a finite loss, got NaN or infinity at {where}; lower --model.learning_rate")


def _random_state() -> dict[str, Any]:
    """Returns the states of the CPU's generator and of this process's GPU; they are the same in all processes."""
    return {"cpu": torch.get_rng_state(), "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_available() else []}


def _state(metric: Metric) -> dict[str, Any]:
    """Returns a metric's state over all processes, for a checkpoint."""
    with metric.sync_context():
        return dict(metric.metric_state)
