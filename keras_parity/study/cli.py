"""``python -m keras_parity study``: both frameworks, seed by seed, each run in a process of its own."""

import ctypes
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from jsonargparse import ActionConfigFile
from rich.live import Live
from rich.table import Table

from cnn_mnist.console.arguments import OneLineErrors
from cnn_mnist.errors import UserError
from cnn_mnist.runs import mistakes, tags
from cnn_mnist.runs.folder import CHECKPOINTS, check_writable
from cnn_mnist.settings import DataSettings, ModelSettings
from keras_parity.compare import cli as compare
from keras_parity.compare.table import TITLES
from keras_parity.logs.event_writer import drop_pictures
from keras_parity.logs.run import Run, all_folders, read_run
from keras_parity.settings import TrainerSettings
from keras_parity.study.jobs import SETTINGS, Job

_ALIGNS = ("keras", "native")
_POLL_SECONDS = 0.5


def main(args: list[str]) -> None:
    """Trains what is not trained yet, and prints the comparison of all runs.

    Args:
        args: The arguments after ``study``.

    Raises:
        UserError: A mistake that the user can mend, or a run that failed.
    """
    config = _build_parser().parse_args(args)
    aligns = config.align.split(",")
    if config.seeds < 1 or not set(aligns) <= set(_ALIGNS):
        raise UserError(
            f"expected 1 or more --seeds and an --align of {', '.join(_ALIGNS)}, got {config.seeds} and {config.align}"
        )
    model, data, trainer = (kind(**config[name].as_dict()) for name, kind in SETTINGS.items())
    check_writable(trainer.log_dir)
    jobs = [
        Job(framework, replace(model, align=align, seed=seed), replace(data, seed=seed), trainer)
        for seed in range(config.seeds)
        for align in aligns
        for framework in (TITLES if seed % 2 else reversed(TITLES))  # in turns, and each goes first as often
    ]
    study = _Study(jobs)
    try:
        study.train()
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command goes on where it stopped") from None
    if config.small:
        for job, run in study.done.items():
            shutil.rmtree(run.folder / CHECKPOINTS, ignore_errors=True)
            if job.model.seed:
                drop_pictures(run.folder)
    if study.done:
        folders = [str(study.done[job].folder) for job in jobs if job in study.done]
        compare.main([*folders, f"--log_dir={trainer.log_dir}", *_disagreements(study.done)])
    if study.failed:
        reasons = "; ".join(f"{job}: {reason}" for job, reason in study.failed.items())
        raise UserError(f"{len(study.failed)} of {len(jobs)} runs failed ({reasons}); the same command tries them anew")


class _Study:
    """What is trained, what failed and why, what runs now."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.jobs = jobs
        self.failed: dict[Job, str] = {}
        self.done: dict[Job, Run] = {}
        self._durations: list[float] = []
        self._look()

    def train(self) -> None:
        """Trains the jobs that are not done, one after the other, under a live table."""
        with Live(self._table(), auto_refresh=False) as live:
            for job in self.jobs:
                if job not in self.done:
                    self._run(job, live)
            live.update(self._table(), refresh=True)

    def _run(self, job: Job, live: Live) -> None:
        start = time.monotonic()
        with tempfile.TemporaryFile() as output:
            # Live draws from this thread alone, so that the fork is safe.
            process = subprocess.Popen(
                job.command, stdout=output, stderr=subprocess.STDOUT, preexec_fn=_die_with_the_study
            )
            try:
                while process.poll() is None:
                    live.update(self._table(job, time.monotonic() - start), refresh=True)
                    time.sleep(_POLL_SECONDS)
            except BaseException:
                process.kill()
                process.wait()
                raise
            output.seek(0)
            lines = output.read().decode(errors="replace").strip().splitlines()
        if process.returncode == 0:
            self._durations.append(time.monotonic() - start)
            self._look()
        if job not in self.done:
            self.failed[job] = (lines or [f"exit code {process.returncode}"])[-1]

    def _look(self) -> None:
        """Finds the finished runs of the study's jobs; the newest of each counts."""
        log_dir = self.jobs[0].trainer.log_dir
        found = sorted((read_run(folder) for folder in all_folders(log_dir)), key=lambda run: run.started)
        self.done = {job: run for run in found for job in self.jobs if job.is_trained_by(run)}

    def _table(self, running: Job | None = None, seconds: float = 0.0) -> Table:
        aligns = dict.fromkeys(job.model.align for job in self.jobs)
        columns = [(align, framework) for align in aligns for framework in TITLES]
        table = Table(title="study: accuracy on the test set", title_justify="left", caption_justify="left")
        table.add_column("seed", justify="right")
        for align, framework in columns:
            table.add_column(f"{TITLES[framework]}, {align}" if len(aligns) > 1 else TITLES[framework], justify="right")
        cells: dict[int, dict[tuple[str, str], str]] = {}
        for job in self.jobs:
            row = cells.setdefault(job.model.seed, {})
            row[job.model.align, job.framework] = self._cell(job, running, seconds)
        for seed, row in cells.items():
            table.add_row(str(seed), *(row[column] for column in columns))
        left = len(self.jobs) - len(self.done) - len(self.failed)
        table.caption = f"{len(self.done)} of {len(self.jobs)} runs done"
        if self._durations and left:
            table.caption += f", about {(left * fmean(self._durations) - seconds) / 60:.0f} minutes left"
        return table

    def _cell(self, job: Job, running: Job | None, seconds: float) -> str:
        if job in self.done:
            return f"{self.done[job].last(tags.tag('test', 'acc')):.4f}"
        if job in self.failed:
            return "failed"
        return f"training, {seconds:.0f} s" if job == running else ""


def _build_parser() -> OneLineErrors:
    parser = OneLineErrors(
        prog="python -m keras_parity study",
        description="Trains both frameworks for each seed, in turns, and compares them. Interrupted, it goes on where "
        "it stopped: a finished run is never trained again.",
    )
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="Settings from a YAML file.")
    parser.add_argument("--seeds", type=int, default=10, help="How many seeds, from 0 on.")
    parser.add_argument("--align", default="keras", help="keras, native, or both as keras,native.")
    parser.add_argument(
        "--small",
        type=bool,
        default=False,
        help="Whether checkpoints are taken away at the end, and pictures but for those of seed 0.",
    )
    parser.add_class_arguments(TrainerSettings, "trainer", skip={"enable_progress_bar"})
    parser.add_class_arguments(ModelSettings, "model", skip={"seed", "align"})
    parser.add_class_arguments(DataSettings, "data", skip={"seed"})
    return parser


def _disagreements(done: Mapping[Job, Run]) -> list[str]:
    """The flags of ``compare`` for a picture of what the frameworks read differently, where there is such a pair."""
    read = Counter(job.model for job, run in done.items() if (run.folder / mistakes.FILE).is_file())
    if max(read.values(), default=0) < len(TITLES):
        return []
    job = next(iter(done))
    return [f"--disagreements={Path(job.trainer.log_dir, 'disagreements.png')}", f"--data.data_dir={job.data.data_dir}"]


def _die_with_the_study() -> None:
    """Has Linux end this process when the study is killed: its run would go on beside the one that takes its place."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of prctl(2)
