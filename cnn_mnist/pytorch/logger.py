"""Lightning's TensorBoard logger, with a run folder that no other training gets."""

import shutil
from collections.abc import Mapping

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from cnn_mnist.runs.folder import new_run_folder
from cnn_mnist.runs.recorder import Recorder


class RunLogger(TensorBoardLogger):
    """Writes into ``save_dir/name/version_N``.

    Lightning takes the next number of a listing, so that trainings that start together share a folder.
    """

    _made = False  # whether the folder is of this logger's own making

    @property
    def is_new(self) -> bool:
        """Whether its folder is still to be made."""
        return self._version is None

    @property
    def version(self) -> int | str:
        """The run's number: made with its folder at the first look, by the first process alone."""
        if self._version is None and getattr(rank_zero_only, "rank", 0) == 0:
            self._version = int(new_run_folder(self.save_dir, self.name).name.removeprefix("version_"))
            self._made = True
        return super().version

    def discard(self) -> None:
        """Removes the run folder, if it is of this logger's own making; the next look makes another."""
        if self._made:
            shutil.rmtree(self.log_dir, ignore_errors=True)
            self._version, self._experiment, self._made = None, None, False

    @property
    @rank_zero_experiment
    def experiment(self) -> Recorder:
        """What writes its event file; a ``TensorBoardLogger`` has PyTorch's own, for graphs and histograms."""
        if self._experiment is None:
            self._experiment = Recorder(self.log_dir)  # type: ignore[assignment]
        return self._experiment  # type: ignore[return-value]

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Writes values by tag; Lightning's own takes a full disk for a value that is no number."""
        for tag, value in metrics.items():
            self.experiment.add_scalar(tag, float(value), step or 0)


def run_logger(trainer: Trainer) -> TensorBoardLogger | None:
    """The first TensorBoard logger; None for a run without one."""
    return next((logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)), None)
