"""``python -m keras_parity study``: both frameworks, seed by seed, each run in a process of its own."""

import ctypes
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from jsonargparse import ActionConfigFile
from rich.console import Console
from rich.progress import Progress

from cnn_mnist.console.arguments import OneLineErrors
from cnn_mnist.errors import UserError
from cnn_mnist.runs import mistakes, tags
from cnn_mnist.runs.folder import check_writable
from keras_parity.compare import cli as compare
from keras_parity.compare.table import TITLES
from keras_parity.logs.run import Run, all_folders, read_run
from keras_parity.study.jobs import SETTINGS, Job

_ALIGNS = ("keras", "native", "keras,native")
_SECONDS_TO_STOP = 10
_ACC = tags.tag("test", "acc")
_SKIPPED = {"trainer": {"enable_progress_bar", "enable_model_summary"}, "model": {"seed", "align"}, "data": {"seed"}}


def main(args: list[str]) -> None:
    """Trains what is not trained yet, and prints the comparison of all runs.

    Args:
        args: The arguments after ``study``.

    Raises:
        UserError: A mistake that the user can mend, or a run that failed.
    """
    config = _build_parser().parse_args(args)
    if config.seeds < 1:
        raise UserError(f"--seeds: expected 1 or more, got {config.seeds}")
    model, data, trainer = (kind(**config[name].as_dict()) for name, kind in SETTINGS.items())
    check_writable(trainer.log_dir)
    jobs = [
        Job(framework, replace(model, align=align, seed=seed), replace(data, seed=seed), trainer)
        for seed in range(config.seeds)
        for align in config.align.split(",")
        for framework in (TITLES if seed % 2 else reversed(TITLES))  # in turns, and each goes first as often
    ]
    try:
        done, failed = _train(jobs)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command goes on where it stopped") from None
    if done:
        folders = [str(done[job].folder) for job in jobs if job in done]
        compare.main([*folders, f"--log_dir={trainer.log_dir}", *_disagreements(done)])
    if failed:
        reasons = "; ".join(f"{job}: {reason}" for job, reason in failed.items())
        raise UserError(f"{len(failed)} of {len(jobs)} runs failed ({reasons}); the same command tries them anew")


def _train(jobs: Sequence[Job]) -> tuple[dict[Job, Run], dict[Job, str]]:
    """Trains the jobs that are not done, one after the other, and prints a line for each.

    Returns:
        The finished runs, and why the other jobs have none.
    """
    done, failed = _done(jobs), dict[Job, str]()
    console = Console(markup=False, emoji=False, highlight=False)
    # Refreshed from this thread alone, so that the fork is safe; the speed is that of all runs so far.
    bar = Progress(console=console, auto_refresh=False, disable=not console.is_terminal, speed_estimate_period=1e9)
    with bar:
        task = bar.add_task("runs", total=len(jobs) - len(done))
        bar.advance(task, 0)  # the time left counts from here
        for number, job in enumerate(jobs, start=1):
            said = "trained before"
            if job not in done:
                bar.refresh()
                start = time.monotonic()
                reason = _run(job.command)
                said = f"{time.monotonic() - start:.0f} s"
                done = _done(jobs)
                bar.advance(task)
                if job not in done:
                    failed[job] = reason
            said = f"failed: {failed[job]}" if job in failed else f"test accuracy {done[job].last(_ACC):.4f}, {said}"
            console.print(f"[{number}/{len(jobs)}] {job}: {said}", soft_wrap=True)
    return done, failed


def _run(command: list[str]) -> str:
    """Runs a training to its end; gives the last line that it prints."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, preexec_fn=_die_with_the_study)
        try:
            process.wait()
        except KeyboardInterrupt:  # which the terminal has sent to the training too
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SECONDS_TO_STOP)
            raise
        finally:
            process.kill()
        output.seek(0)
        lines = output.read().decode(errors="replace").strip().splitlines()
    return (lines or [f"exit code {process.returncode}"])[-1]


def _done(jobs: Sequence[Job]) -> dict[Job, Run]:
    """The finished runs of the jobs; the newest of each counts."""
    folders = all_folders(jobs[0].trainer.log_dir)
    found = sorted(map(read_run, folders), key=lambda run: run.started)
    return {job: run for run in found for job in jobs if job.is_trained_by(run)}


def _build_parser() -> OneLineErrors:
    parser = OneLineErrors(
        prog="python -m keras_parity study",
        description="Trains both frameworks for each seed, in turns, and compares them. Interrupted, it goes on where "
        "it stopped: a finished run is never trained again.",
    )
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="Settings from a YAML file.")
    parser.add_argument("--seeds", type=int, default=10, help="How many seeds, from 0 on.")
    parser.add_argument("--align", default="keras", choices=_ALIGNS, help="As --model.align, or both.")
    for name, kind in SETTINGS.items():
        parser.add_class_arguments(kind, name, skip=_SKIPPED[name])
    return parser


def _disagreements(done: Mapping[Job, Run]) -> list[str]:
    """The flags of ``compare`` for a picture of what the frameworks predict differently, where there is such a pair."""
    read = Counter(job.model for job, run in done.items() if (run.folder / mistakes.FILE).is_file())
    if max(read.values(), default=0) < len(TITLES):
        return []
    job = next(iter(done))
    return [f"--disagreements={Path(job.trainer.log_dir, 'disagreements.png')}", f"--data.data_dir={job.data.data_dir}"]


def _die_with_the_study() -> None:
    """Has Linux end this process when the study is killed: its run would go on beside the one that takes its place."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG of prctl(2)
