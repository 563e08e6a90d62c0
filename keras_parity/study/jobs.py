"""One run of a study: the command that trains it, and how it is recognised later."""

import ctypes
import signal
import sys
from dataclasses import asdict, dataclass

from cnn_mnist.runs import tags
from cnn_mnist.runs.folder import KERAS
from cnn_mnist.settings import DataSettings, ModelSettings
from keras_parity.compare.sides import TITLES
from keras_parity.logs.run import Run
from keras_parity.settings import GROUPS, TrainerSettings, settings_that_matter


@dataclass(frozen=True)
class Job:
    """One run of a study.

    Attributes:
        framework: ``"keras"`` or ``"pytorch"``.
        model: Network, optimizer, loss, and seed.
        data: Data set and batches, with the same seed.
        trainer: Length of the training, and the folder of the logs.
    """

    framework: str
    model: ModelSettings
    data: DataSettings
    trainer: TrainerSettings

    @property
    def command(self) -> list[str]:
        """The command that trains the job."""
        flags = {
            f"{group}.{name}": value
            for group in GROUPS
            for name, value in asdict(getattr(self, group)).items()
            if name not in ("seed", "log_dir")
        }
        flags |= {"seed_everything": self.model.seed, "trainer.enable_progress_bar": False}
        flags["trainer.log_dir" if self.framework == KERAS else "trainer.logger.save_dir"] = self.trainer.log_dir
        return [*self._module, *(f"--{name}={value}" for name, value in flags.items() if value is not None)]

    def resume(self, run: Run | None) -> list[str]:
        """The command that resumes an interrupted run of the job; empty if there is none."""
        quiet = "--trainer.enable_progress_bar=false"
        return [] if run is None else [*self._module, f"--resume={run.folder}", quiet]

    @property
    def _module(self) -> list[str]:
        return [sys.executable, "-m", *(["keras_parity"] if self.framework == KERAS else ["cnn_mnist", "fit"])]

    def is_of(self, run: Run) -> bool:
        """Whether a run belongs to this job."""
        settings = settings_that_matter({group: asdict(getattr(self, group)) for group in GROUPS})
        return (run.framework, run.seed, run.settings) == (self.framework, self.model.seed, settings)

    def is_trained_by(self, run: Run) -> bool:
        """Whether a run belongs to this job and is finished, with all figures that the job needs."""
        evaluated = not self.data.train_eval or tags.tag("train_eval", "acc") in run.points
        return run.finished and evaluated and self.is_of(run)

    def __str__(self) -> str:
        native = ", native" if self.model.align == "native" else ""
        return f"{TITLES[self.framework]}{native}, seed {self.model.seed}"


def die_with_the_parent() -> None:
    """Makes Linux end this process when its parent is killed.

    A study that is killed has no time to end its training, which would then crash into that of the next study. Nothing
    but prctl ends it.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of prctl(2)
