"""One run of a study: the command that trains it, and how its folder is found again."""

import ctypes
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Hashable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cnn_mnist.errors import UserError
from cnn_mnist.runs import tags
from cnn_mnist.runs.data_file import data_hash
from cnn_mnist.runs.files import lock_folder
from cnn_mnist.runs.folder import PYTORCH
from cnn_mnist.settings import DataSettings, ModelSettings
from keras_parity.compare.sides import TITLES
from keras_parity.frameworks import RUN_NAMES
from keras_parity.logs.folders import all_folders
from keras_parity.logs.run import Run, hashable, read_run
from keras_parity.settings import GROUPS, TrainerSettings, settings_that_matter


@dataclass(frozen=True, eq=False)  # a key although its network may be a list
class Job:
    """One run of a study.

    Attributes:
        framework: A key of ``TITLES``.
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
        flags["trainer.logger.save_dir" if self.framework == PYTORCH else "trainer.log_dir"] = self.trainer.log_dir
        return [*self._module, *(f"--{name}={value}" for name, value in flags.items() if value is not None)]

    def resume(self, run: Run | None) -> list[str]:
        """The command that resumes an interrupted run of the job; empty if there is none."""
        quiet = "--trainer.enable_progress_bar=false"
        return [] if run is None else [*self._module, f"--resume={run.folder}", quiet]

    @property
    def _module(self) -> list[str]:
        twins = {name: ["keras_parity", f"--backend={backend}"] for backend, name in RUN_NAMES.items()}
        return [sys.executable, "-m", *twins.get(self.framework, ["cnn_mnist", "fit"])]

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The settings that define the experiment, as a run has them."""
        config = {group: asdict(getattr(self, group)) for group in GROUPS}
        return settings_that_matter(config, data_hash(self.data.file))

    def is_of(self, run: Run) -> bool:
        """Whether a run belongs to this job."""
        return (run.framework, run.seed, run.settings) == (self.framework, self.model.seed, self.settings)

    def is_trained_by(self, run: Run) -> bool:
        """Whether a run belongs to this job and is finished, with all figures that the job needs."""
        evaluated = not self.data.train_eval or tags.tag("train_eval", "acc") in run.points
        return run.finished and evaluated and self.is_of(run)

    def __str__(self) -> str:
        native = ", native" if self.model.align == "native" else ""
        return f"{TITLES[self.framework]}{native}, seed {self.model.seed}"


class KnownRuns:
    """The runs of a log folder, by job; it reads a run again only while the run is unfinished.

    Args:
        log_dir: The log folder.
    """

    def __init__(self, log_dir: str) -> None:
        self._log_dir = log_dir
        self._known = set[Path]()
        self._finished: defaultdict[Hashable, list[Run]] = defaultdict(list)

    def finished(self, job: Job) -> Run | None:
        """The newest finished run of a job."""
        return next((run for run in self._newest_first(job) if job.is_trained_by(run)), None)

    def interrupted(self, job: Job, seconds: float = 0.0) -> Run | None:
        """The newest unfinished run of a job, unless another process is training it.

        Args:
            job: The job.
            seconds: How long to wait for the end of that process, such as a training whose worker was killed.
        """
        deadline = time.monotonic() + seconds
        for run in self._newest_first(job):
            while not run.finished:
                with suppress(UserError), lock_folder(run.folder):
                    return run
                if time.monotonic() >= deadline:
                    return None
                time.sleep(0.05)
        return None

    def _newest_first(self, job: Job) -> list[Run]:
        others = []
        for folder in all_folders(self._log_dir, self._known):
            run = read_run(folder)
            if run.finished and tags.PARAMETERS in run.points:  # before that point it looks foreign
                self._known.add(folder)
                self._finished[_key(run.framework, run.seed, run.settings)].append(run)
            elif job.is_of(run):
                others.append(run)
        found = self._finished[_key(job.framework, job.model.seed, job.settings)] + others
        return sorted(found, key=lambda run: run.started, reverse=True)


def _key(framework: str, seed: int | None, settings: Mapping[str, Any]) -> Hashable:
    return framework, seed, hashable(settings)


def die_with_the_parent() -> None:
    """Makes Linux end this process when its parent is killed.

    A study that is killed has no time to end its training, which would then crash into that of the next study. Nothing
    but prctl ends it.
    """
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of prctl(2)
