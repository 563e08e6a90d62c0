"""Saves the checkpoints that a training of the twin resumes from, by the rules of ``cnn_mnist.pytorch.keeper``."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from cnn_mnist.runs.folder import age
from cnn_mnist.runs.resume import log_sizes
from cnn_mnist.runs.signals import StopRequest
from keras_parity.twin.callbacks import EpochLog
from keras_parity.twin.engines import ENGINE

Save = Callable[[Path, dict[str, Any]], None]


class Keeper(keras.callbacks.Callback):
    """Writes a checkpoint after every epoch, every so many steps, and when the training is asked to stop.

    Args:
        epochs: The log of the run.
        folder: Folder of the checkpoints.
        every: Steps between two checkpoints within an epoch; 0 for none.
        save: Writes a checkpoint with the given state.
    """

    def __init__(self, epochs: EpochLog, folder: Path, every: int, save: Save) -> None:
        super().__init__()
        self.epochs, self.folder, self.every, self.save = epochs, folder, every, save
        self.stop = StopRequest()
        self.close = self.stop.end  # restores the signal handlers

    def on_train_begin(self, logs: Any = None) -> None:
        """From now on, a stop waits for the end of a step."""
        self.stop.start()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Saves a checkpoint if one is due; at the last step, ``on_epoch_end`` does that."""
        due = self.stop.requested or (self.every and self.epochs.step % self.every == 0)
        if due and batch + 1 < self.params["steps"]:
            self.on_epoch_end(self.epochs.batches.epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Saves a checkpoint, and keeps only the newest earlier one."""
        ENGINE.sync(self.model)
        self.folder.mkdir(exist_ok=True)  # fails if somebody has removed the run folder
        log = self.epochs.log
        state = {"log": log_sizes(log.folder), "seconds": self.epochs.stopwatch.state(), "figures": log.values}
        sums = [variable.numpy().tolist() for variable in self.model.metrics_variables]
        self.save(self.folder / f"epoch={epoch}-step={self.epochs.step}.keras", state | {"sums": sums})
        self._drop(but=2)
        self.stop.raise_if_requested()

    def finish(self) -> None:
        """Keeps only the last checkpoint; from now on, a stop acts at once."""
        self._drop(but=1)
        self.close()
        self.stop.raise_if_requested()

    def _drop(self, but: int) -> None:
        ours = re.compile(r"epoch=\d+-step=\d+\.keras")  # a user may keep copies under other names
        files = sorted(filter(lambda file: ours.fullmatch(file.name), self.folder.glob("*")), key=age)
        for old in files[:-but]:
            old.unlink()
