"""One run of a study: the command that trains it, and how it is known again."""

import ctypes
import signal
import sys
from dataclasses import asdict, dataclass

from cnn_mnist.runs.folder import KERAS
from cnn_mnist.settings import DataSettings, ModelSettings
from keras_parity.compare.sides import TITLES
from keras_parity.logs.run import Run
from keras_parity.settings import TrainerSettings, settings_that_matter

SETTINGS = {"model": ModelSettings, "data": DataSettings, "trainer": TrainerSettings}
"""The groups of a study's flags."""


@dataclass(frozen=True)
class Job:
    """One run of a study.

    Attributes:
        framework: ``"keras"`` or ``"pytorch"``.
        model: What is trained, its seed included.
        data: On what, with the same seed.
        trainer: For how long, and where the run folder goes.
    """

    framework: str
    model: ModelSettings
    data: DataSettings
    trainer: TrainerSettings

    @property
    def command(self) -> list[str]:
        """The command that trains it."""
        flags = {
            f"{group}.{name}": value
            for group in SETTINGS
            for name, value in asdict(getattr(self, group)).items()
            if name not in ("seed", "log_dir")
        }
        flags |= {"seed_everything": self.model.seed, "trainer.enable_progress_bar": False}
        keras = self.framework == KERAS
        flags["trainer.log_dir" if keras else "trainer.logger.save_dir"] = self.trainer.log_dir
        module = ["keras_parity"] if keras else ["cnn_mnist", "fit"]
        given = (f"--{name}={value}" for name, value in flags.items() if value is not None)
        return [sys.executable, "-m", *module, *given]

    def is_trained_by(self, run: Run) -> bool:
        """Whether a run is a finished one of this job."""
        mine = settings_that_matter({group: asdict(getattr(self, group)) for group in SETTINGS})
        return run.finished and (run.framework, run.seed, run.settings) == (self.framework, self.model.seed, mine)

    def __str__(self) -> str:
        native = ", native" if self.model.align == "native" else ""
        return f"{TITLES[self.framework]}{native}, seed {self.model.seed}"


def die_with_the_parent() -> None:
    """Has Linux end this process when its parent is killed: its run would go on beside the one that takes its place.

    Nothing else does that: a study that is killed has no time to kill, and its trainings would crash into the next's.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of prctl(2)
