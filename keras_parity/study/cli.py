"""``python -m keras_parity study``: several frameworks, seed by seed, each run in a separate process."""

import argparse
import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from jsonargparse import ActionConfigFile
from rich.console import Console
from rich.progress import Progress

from cnn_mnist.console.arguments import OneLineErrors
from cnn_mnist.errors import UserError, expect
from cnn_mnist.neutral import printable, say
from cnn_mnist.runs import mistakes
from cnn_mnist.runs.files import check_writable, lock_folder
from cnn_mnist.runs.folder import CONFIG, KERAS, PYTORCH, STUDY, UNTIL_DECIDED
from cnn_mnist.settings import names
from keras_parity.compare import cli as compare
from keras_parity.compare.rows import PRIMARY
from keras_parity.compare.sides import TITLES
from keras_parity.compare.table import make_tables
from keras_parity.compare.verdict import POWER, Verdict, Word, pairs_needed
from keras_parity.logs.run import Run
from keras_parity.settings import GROUPS
from keras_parity.study.jobs import Job, finished_runs, interrupted_run
from keras_parity.study.plan import plan, read_frameworks
from keras_parity.study.runner import Runner

_ALIGNS = ("keras", "native", "keras,native")
_ALIGN = "model.align"
_SEEDS = {"seeds": 10, "max_seeds": 50}


def main(args: list[str]) -> None:
    """Trains the missing runs, and prints the comparison of all runs.

    Args:
        args: The arguments after ``study``.

    Raises:
        UserError: The arguments are wrong, or a run failed.
    """
    config = _build_parser().parse_args(args)
    flag, other = ("seeds", "max_seeds") if config.until is None else ("max_seeds", "seeds")
    if config[other] is not None:
        raise UserError(
            f"--{other}: expected --{flag} {'with' if config.until else 'without'} --until=decided; use that"
        )
    seeds = _SEEDS[flag] if config[flag] is None else config[flag]
    expect(f"--{flag}", seeds >= 1, "1 or more", seeds)
    model, data, trainer = (kind(**config[name].as_dict()) for name, kind in GROUPS.items())
    aligns = config.align.split(",")
    by = _ALIGN if len(aligns) > 1 else ""
    jobs = plan(read_frameworks(config.frameworks, aligns), aligns, seeds, model, data, trainer)
    check_writable(trainer.log_dir)
    Path(trainer.log_dir).mkdir(parents=True, exist_ok=True)
    try:
        with lock_folder(trainer.log_dir):
            done, failed = _train(jobs, by, looks=config.until is not None)
    except KeyboardInterrupt as interrupt:
        interrupt.args = ("interrupted; repeat the command to continue",)
        raise
    if done:
        if config.until is not None:
            say(_how_long(done, by))
        folders = [str(done[job].folder) for job in jobs if job in done]
        flags = [f"--by={_ALIGN}"] if len({job.model.align for job in done}) > 1 else _disagreements(done)
        compare.main([*folders, f"--log_dir={trainer.log_dir}", *flags])
        if not failed and (config.until is None or len(done) == len(jobs)):
            say(f"      {_command_for(args, flag, 2 * seeds)}  # trains {seeds} more seeds")
    if failed:
        reasons = "; ".join(f"{job}: {reason}" for job, reason in failed.items())
        raise UserError(f"{len(failed)} of {len(jobs)} runs failed ({reasons}); repeat the command to train them")


def _train(jobs: Sequence[Job], by: str, looks: bool) -> tuple[dict[Job, Run], dict[Job, str]]:
    """Trains the unfinished jobs one after the other, and prints a line for each job.

    Args:
        jobs: All jobs, seed by seed.
        by: The setting to compare instead of the frameworks; empty for the frameworks.
        looks: Whether to look after every seed, and to stop once the primary row of each experiment is decided.

    Returns:
        The finished runs, and the reason of each failure.

    Raises:
        UserError: The settings of a run cannot be written.
    """
    done, failed = finished_runs(jobs), dict[Job, str]()
    console = Console(markup=False, emoji=False, highlight=False)
    # Only this thread refreshes it, so that a fork is safe; the speed is averaged over all runs so far.
    bar = Progress(console=console, auto_refresh=False, disable=not console.is_terminal, speed_estimate_period=1e9)
    with bar, closing(Runner()) as runner:
        task = bar.add_task("runs", total=len(jobs) - len(done))
        bar.advance(task, 0)  # starts the estimate of the time left
        for number, job in enumerate(jobs, start=1):
            took = "trained before"
            if job not in done:
                bar.refresh()
                start = time.monotonic()
                for command in filter(None, (job.resume(interrupted_run(job)), job.command)):
                    reason = runner.run(job.framework, command)
                    done = finished_runs(jobs)
                    if job in done:
                        break
                took = f"{time.monotonic() - start:.0f} s"
                bar.advance(task)
                if job not in done:
                    failed[job] = reason
            result = f"test accuracy {done[job].last(PRIMARY):.4f}, {took}" if job in done else f"failed: {failed[job]}"
            console.print(printable(f"[{number}/{len(jobs)}] {job}: {result}"), soft_wrap=True)
            if looks and (number == len(jobs) or jobs[number].model.seed != job.model.seed):
                seen = {job: _marked(done[job]) for job in jobs[:number] if job in done}
                words = {verdict.word for _, verdict in _primary(seen, by)}
                if number == len(jobs) or (words and Word.UNDETERMINED not in words):
                    return seen, failed
    return done, failed


def _marked(run: Run) -> Run:
    """Marks a run as looked at, in its settings file, and returns it.

    Raises:
        UserError: The settings file cannot be written.
    """
    path = run.folder / CONFIG
    try:
        if not run.looked_at:
            with path.open("a") as file:
                file.write(f"{STUDY}: {UNTIL_DECIDED}\n")
    except OSError as error:
        raise UserError(
            f"expected a settings file in which --until=decided can mark the run, got {path} ({error.strerror}); "
            "make the file writable and repeat the command"
        ) from None
    return replace(run, looked_at=True)


def _command_for(args: Sequence[str], flag: str, seeds: int) -> str:
    """The command of this study, with another number of seeds."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument(f"--{flag}")
    _, others = parser.parse_known_args(args)
    return shlex.join(["python", "-m", "keras_parity", "study", *others, f"--{flag}={seeds}"])


def _primary(done: Mapping[Job, Run], by: str) -> list[tuple[str, Verdict]]:
    """The start of a line about each comparison, and the verdict of its primary row."""
    if by and len({job.model.align for job in done}) < 2:
        return []
    tables = make_tables(list(done.values()), by=by)
    compared = ((table, part) for table in tables for part in table.comparisons)
    return [(table.about(part), part.verdicts[PRIMARY]) for table, part in compared if PRIMARY in part.verdicts]


def _how_long(done: Mapping[Job, Run], by: str) -> str:
    """How many runs it took to decide, and how many a study of fixed size would need."""
    lines = []
    for where, verdict in _primary(done, by):
        fixed = pairs_needed(verdict.difference, verdict.margin, 1 - verdict.level)
        state = "not decided" if verdict.word == Word.UNDETERMINED else "decided"
        size = "no number" if fixed is None else f"about {fixed:,} pairs"
        lines.append(f"{where}{state} after {verdict.basis}; a study of fixed size needs {size} for {POWER:.0%} power")
    return f"{len(done)} runs: {'; '.join(lines) or 'nothing compared'}"


def _build_parser() -> OneLineErrors:
    parser = OneLineErrors(
        prog="python -m keras_parity study",
        description="Trains each framework with each seed, in turns, compares the runs, and draws the images that "
        "the frameworks predict differently into LOG_DIR/disagreements.png. If you interrupt it, the same command "
        "continues: a finished run is never repeated.",
    )
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="Settings from a YAML file.")
    parser.add_argument("--seeds", type=int | None, help=f"Number of seeds, starting at 0; default {_SEEDS['seeds']}.")
    which = f"Names of {', '.join(TITLES)}, separated by commas."
    parser.add_argument("--frameworks", default=f"{KERAS},{PYTORCH}", help=which)
    until = f"Look after every seed, and stop once the row {PRIMARY} is decided."
    parser.add_argument("--until", choices=["decided"], default=None, help=until)
    most = f"With --until: maximum number of seeds; default {_SEEDS['max_seeds']}."
    parser.add_argument("--max_seeds", type=int | None, help=most)
    parser.add_argument(
        "--align", default="keras", choices=_ALIGNS, help="Like --model.align; keras,native trains both."
    )
    for group, kind in GROUPS.items():
        skipped = names(kind, "seed", "framework") | {"enable_progress_bar", "enable_model_summary"}
        parser.add_class_arguments(kind, group, skip=skipped)
    return parser


def _disagreements(done: Mapping[Job, Run]) -> list[str]:
    """The flags with which ``compare`` draws the images predicted differently; empty without a pair of runs."""
    first = min((job.framework for job in done), key=list(TITLES).index)  # with which the others are compared
    known = {(job.model, job.framework == first) for job, run in done.items() if (run.folder / mistakes.FILE).is_file()}
    if max(Counter(model for model, _ in known).values(), default=0) < 2:
        return []
    job = next(iter(done))
    return [f"--disagreements={Path(job.trainer.log_dir, 'disagreements.png')}", f"--data.data_dir={job.data.data_dir}"]
