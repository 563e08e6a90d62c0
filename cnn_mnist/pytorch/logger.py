"""Lightning's TensorBoard logger with a separate run folder for each training."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from cnn_mnist.runs.folder import new_run_folder
from cnn_mnist.runs.recorder import Recorder


class RunLogger(TensorBoardLogger):
    """Logs into ``save_dir/name/version_N``.

    Lightning only looks for the next free number, so trainings that start together would share a folder.
    """

    _made = False  # whether this logger created the folder

    @property
    def is_new(self) -> bool:
        """Whether the folder does not exist yet."""
        return self._version is None

    @property
    def version(self) -> int | str:
        """The run's number; the first process creates it and the folder at first access."""
        if self._version is None and getattr(rank_zero_only, "rank", 0) == 0:
            self._version = int(new_run_folder(self.save_dir, self.name).name.removeprefix("version_"))
            self._made = True
        return super().version

    def discard(self) -> None:
        """Removes the run folder if this logger created it; the next access creates another."""
        if self._made:
            shutil.rmtree(self.log_dir, ignore_errors=True)
            self._version, self._experiment, self._made = None, None, False

    @property
    @rank_zero_experiment
    def experiment(self) -> Recorder:
        """Writer of the event file; use a ``TensorBoardLogger`` for graphs and histograms."""
        if self._experiment is None:
            self._experiment = Recorder(self.log_dir)  # type: ignore[assignment]
        return self._experiment  # type: ignore[return-value]

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes values by tag; Lightning's method reports a full disk as an invalid value."""
        for tag, value in metrics.items():
            self.experiment.add_scalar(tag, float(value), step or 0)


def run_logger(trainer: Trainer) -> TensorBoardLogger | None:
    """Returns the first TensorBoard logger; None without one."""
    return next((logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)


def run_folder(trainer: Trainer) -> Path | None:
    """Returns the run folder: of the first TensorBoard logger, or of another that has one, like ``CSVLogger``."""
    folders = [logger.log_dir for logger in (run_logger(trainer), *trainer.loggers) if logger is not None]
    return next((Path(folder) for folder in folders if folder is not None), None)
