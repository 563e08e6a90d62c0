"""Lightning's TensorBoard logger, with a run folder that no other training gets."""

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from cnn_mnist.runs.folder import new_run_folder


class RunLogger(TensorBoardLogger):
    """Writes into ``save_dir/name/version_N``.

    Lightning takes the next number of a listing, so that trainings that start together share a folder.
    """

    @property
    def is_new(self) -> bool:
        """Whether its folder is still to be made."""
        return self._version is None

    @property
    def version(self) -> int | str:
        """The run's number: made with its folder at the first look, by the first process alone."""
        if self._version is None and getattr(rank_zero_only, "rank", 0) == 0:
            self._version = int(new_run_folder(self.save_dir, self.name).name.removeprefix("version_"))
        return super().version
