"""Trains the jobs of a study until all have ended or the comparison is decided, and prints a line for each."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count, groupby
from typing import TypeVar

from rich.console import Console

from cnn_mnist.console.progress import progress
from cnn_mnist.errors import as_user_error, of_system
from cnn_mnist.neutral import printable
from cnn_mnist.runs.folder import CONFIG, STUDY, UNTIL_DECIDED
from keras_parity.compare.rows import PRIMARY
from keras_parity.compare.table import make_tables
from keras_parity.compare.verdict import POWER, Verdict, Word, pairs_needed
from keras_parity.logs.run import Run
from keras_parity.study.jobs import Job, KnownRuns
from keras_parity.study.trainings import Pool, train

_Value = TypeVar("_Value")


def train_until(jobs: Sequence[Job], pool: Pool, by: str, looks: bool) -> tuple[dict[Job, Run], dict[Job, str]]:
    """Trains the unfinished jobs, and prints a line for each job.

    Args:
        jobs: All jobs, seed by seed.
        pool: Where they are trained.
        by: The setting to compare instead of the frameworks; empty for the frameworks.
        looks: Whether to compare after every seed, and to stop once the primary row of each experiment is decided.

    Returns:
        The finished runs, and the reason of each failure, of the seeds up to the last look.

    Raises:
        UserError: The settings of a run cannot be written.
    """
    runs, failed, seen = KnownRuns(jobs[0].trainer.log_dir), dict[Job, str](), list[Job]()
    done = {job: run for job in jobs if (run := runs.finished(job))}
    before = set(done)
    console = Console(markup=False, emoji=False, highlight=False)
    tell = lambda line: console.print(printable(line), soft_wrap=True)  # noqa: E731
    # Only this thread refreshes it, so that a fork is safe; the speed is averaged over all runs so far.
    bar = progress(console=console, auto_refresh=False, disable=not console.is_terminal, speed_estimate_period=1e9)
    with bar:
        task = bar.add_task("runs", total=len(jobs) - len(before))
        bar.advance(task, 0)  # starts the estimate of the time left
        bar.refresh()
        ends, numbers = train((job for job in jobs if job not in before), runs, pool, tell), count(1)
        for _, of_seed in groupby(jobs, key=lambda job: job.model.seed):
            seen += (seed := list(of_seed))
            for job in filter(before.__contains__, seed):
                tell(f"[{next(numbers)}/{len(jobs)}] {job}: {_accuracy(done[job])}, trained before")
            while not all(job in done or job in failed for job in seed):
                ended, run = next(ends)
                if run:
                    done[ended.job] = run
                else:
                    failed[ended.job] = ended.reason
                result = f"{_accuracy(run)}, {ended.seconds:.0f} s" if run else f"failed: {ended.reason}"
                bar.advance(task)
                tell(f"[{next(numbers)}/{len(jobs)}] {ended.job}: {result}")
                bar.refresh()
            if looks:
                done |= {job: _marked(done[job]) for job in seed if job in done}
                words = {verdict.word for _, verdict in _primary(_only(seen, done), by)}
                if words and Word.UNDETERMINED not in words:
                    break
    return _only(seen, done), _only(seen, failed)


def _only(jobs: Sequence[Job], found: Mapping[Job, _Value]) -> dict[Job, _Value]:
    return {job: found[job] for job in jobs if job in found}


def _accuracy(run: Run) -> str:
    return f"test accuracy {run.last(PRIMARY):.4f}"


def _marked(run: Run) -> Run:
    """Marks a run as looked at, in its settings file, and returns it.

    Raises:
        UserError: The settings file cannot be written.
    """
    path = run.folder / CONFIG
    start = f"expected a settings file in which --until=decided can mark the run, got {path}"
    with as_user_error(start, "; make the file writable and repeat the command", of_system):
        if not run.looked_at:
            with path.open("a") as file:
                file.write(f"{STUDY}: {UNTIL_DECIDED}\n")
    return replace(run, looked_at=True)


def _primary(done: Mapping[Job, Run], by: str) -> list[tuple[str, Verdict]]:
    """The start of a line about each comparison, and the verdict of its primary row."""
    if by and len({job.model.align for job in done}) < 2:
        return []
    tables = make_tables(list(done.values()), by=by)
    compared = ((table, part) for table in tables for part in table.comparisons)
    return [(table.about(part), part.verdicts[PRIMARY]) for table, part in compared if PRIMARY in part.verdicts]


def how_long(done: Mapping[Job, Run], by: str) -> str:
    """How many runs it took to decide, and how many a study of fixed size would need."""
    lines = []
    for where, verdict in _primary(done, by):
        fixed = pairs_needed(verdict.difference, verdict.margin, 1 - verdict.level)
        state = "not decided" if verdict.word == Word.UNDETERMINED else "decided"
        size = "no number" if fixed is None else f"about {fixed:,} pairs"
        lines.append(f"{where}{state} after {verdict.basis}; a study of fixed size needs {size} for {POWER:.0%} power")
    return f"{len(done)} runs: {'; '.join(lines) or 'nothing compared'}"
