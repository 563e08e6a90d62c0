"""Saves checkpoints from which a training resumes, and restores its progress."""

import math
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint

from cnn_mnist.errors import expect
from cnn_mnist.pytorch.checkpoints import expect_more_epochs
from cnn_mnist.pytorch.logger import run_logger
from cnn_mnist.runs.files import atomic_write, lock_folder
from cnn_mnist.runs.folder import CHECKPOINTS
from cnn_mnist.runs.signals import StopRequest, resume_hint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints atomically and syncs them to disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Writes a checkpoint.

        Args:
            checkpoint: The content.
            path: The file; a URL is written without these guarantees.
            storage_options: Lightning's; unused for files.

        Raises:
            UserError: The file cannot be written.
        """
        if "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as aside:
            torch.save(checkpoint, aside)


class ResumableCheckpoint(Checkpoint):
    """Writes a checkpoint after every epoch, every ``every`` steps, and when a signal stops the training.

    While training it keeps the two newest files, in case the newest is damaged.

    Args:
        every: Steps between checkpoints within an epoch; 0 for none.
        epochs: Whether to write one after every epoch; the user's checkpoint callback may do that.

    Attributes:
        best_model_path: The newest checkpoint; Lightning reads it for ``ckpt_path="best"``.
    """

    def __init__(self, every: int = 0, epochs: bool = True) -> None:
        self.every, self.epochs = every, epochs
        self.stop = StopRequest()
        self.best_model_path = ""
        self._kept: list[str] = []
        self._held = ExitStack()
        self._step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Locks the run folder and defers signals to the end of a step."""
        folder = self._folder(trainer).parent
        if trainer.is_global_zero:
            self._held.enter_context(lock_folder(folder))
        self._step = trainer.global_step
        if trainer.world_size == 1:  # several processes would stop at different steps and wait for each other forever
            self.stop.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Saves a due step, unless the epoch ends with it or its update is not complete (accumulation)."""
        updated, self._step = trainer.global_step > self._step, trainer.global_step
        due = self.stop.requested or (self.every and self._step % self.every == 0)
        if updated and due and not trainer.is_last_batch:
            self._keep(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves the epoch."""
        if self.epochs or self.stop.requested:
            self._keep(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keeps only the last checkpoint, and raises a recorded signal."""
        self._drop(trainer, but=1)
        self._held.close()
        self.stop.end()
        self.stop.raise_if_requested()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restores the signal handlers, and adds to an interrupt how to resume."""
        self.stop.end()
        self._held.close()
        logger = run_logger(trainer)
        if isinstance(exception, KeyboardInterrupt) and logger and trainer.is_global_zero:
            exception.args = (resume_hint("python -m cnn_mnist fit", logger.log_dir, trainer.global_step),)

    def state_dict(self) -> dict[str, Any]:
        """Returns the names of its files."""
        return {"kept": self._kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the names of its files."""
        self._kept = state_dict["kept"]

    def _keep(self, trainer: Trainer) -> None:
        name = f"epoch={trainer.current_epoch}-step={trainer.global_step}.ckpt"
        self._kept = [*(kept for kept in self._kept if kept != name), name]
        folder = self._folder(trainer)
        if trainer.is_global_zero:
            folder.mkdir(exist_ok=True)  # no parents: a run folder that was removed is an error
        trainer.save_checkpoint(folder / name, weights_only=False)
        self.best_model_path = str(folder / name)
        self._drop(trainer, but=2)
        self.stop.raise_if_requested()

    def _drop(self, trainer: Trainer, but: int) -> None:
        for name in self._kept[:-but]:
            trainer.strategy.remove_checkpoint(self._folder(trainer) / name)
        self._kept = self._kept[-but:]

    def _folder(self, trainer: Trainer) -> Path:
        logger = run_logger(trainer)
        assert logger is not None
        return Path(trainer.strategy.broadcast(logger.log_dir), CHECKPOINTS)


def checkpoint_callbacks(trainer: Any) -> list[Checkpoint]:
    """Returns our checkpoint callback and removes Lightning's default one from the trainer.

    Args:
        trainer: A trainer that is about to fit.

    Returns:
        One callback; none if the user's settings already save checkpoints with ours, or none at all.
    """
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()
    default, existing = ModelCheckpoint(), trainer.checkpoint_callbacks
    if run_logger(trainer) is None or not existing:
        return []
    for callback in existing:
        same = type(callback) is ModelCheckpoint and callback.state_key == default.state_key
        if same and (callback.dirpath, callback.filename, callback.save_top_k) == (None, None, 1):
            trainer.callbacks.remove(callback)
    if any(isinstance(callback, ResumableCheckpoint) for callback in existing):
        return []
    return [ResumableCheckpoint(epochs=not trainer.checkpoint_callbacks)]


def restore_progress(trainer: Trainer) -> None:
    """Sets epoch and updates from the optimizer's counter, for a converted checkpoint without epochs.

    Call it in ``on_train_start``, when the number of batches is known; the twin does the same.

    Args:
        trainer: The trainer, with the checkpoint restored.

    Raises:
        UserError: The updates end within an epoch, or no epoch is left to train.
    """
    updates, batches = trainer.optimizers[0].param_groups[0].get("step", 0), trainer.num_training_batches
    if trainer.global_step or not updates or math.isinf(batches):  # loaders without a length have no known epochs
        return
    steps = math.ceil(batches / trainer.accumulate_grad_batches)
    epochs, rest = divmod(updates, steps)
    came = f"{trainer.ckpt_path} at update {rest} of one; use the batch size and validation split of its training"
    expect("--ckpt_path", not rest, f"the end of an epoch of {steps} updates", came)
    expect_more_epochs(trainer.ckpt_path, epochs, trainer.max_epochs)
    loop: Any = trainer.fit_loop
    loop.epoch_progress.current.processed = epochs
    loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = updates
    loop.epoch_loop._batches_that_stepped = updates
