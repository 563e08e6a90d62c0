"""``python -m keras_parity study``: several frameworks, seed by seed, each run in a separate process."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from jsonargparse import ActionConfigFile

from cnn_mnist.console.arguments import OneLineErrors, read_early
from cnn_mnist.errors import UserError, expect
from cnn_mnist.neutral import say
from cnn_mnist.runs import mistakes
from cnn_mnist.runs.files import check_writable, lock_folder
from cnn_mnist.runs.folder import KERAS, PYTORCH
from cnn_mnist.settings import names
from keras_parity.compare import cli as compare
from keras_parity.compare.rows import PRIMARY
from keras_parity.compare.sides import TITLES
from keras_parity.frameworks import expect_package
from keras_parity.logs.run import Run, hashable
from keras_parity.settings import GROUPS, TrainerSettings
from keras_parity.study.jobs import Job
from keras_parity.study.plan import plan, read_frameworks
from keras_parity.study.trainings import OneByOne, Pool
from keras_parity.study.until import how_long, train_until

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
        wanted = f"--{flag} {'with' if config.until else 'without'} --until=decided"
        raise UserError(f"--{other}: expected {wanted}; use that")
    seeds = _SEEDS[flag] if config[flag] is None else config[flag]
    expect(f"--{flag}", seeds >= 1, "1 or more", seeds)
    model, data, trainer = (kind(**config[name].as_dict()) for name, kind in GROUPS.items())
    aligns = config.align.split(",")
    by = _ALIGN if len(aligns) > 1 else ""
    if config.cluster is not None:
        expect_package("ray", f"--cluster={config.cluster}", extra="cluster")
    if (cores := config.cores_per_run) is not None:
        expect("--cores_per_run", config.cluster is not None, "--cluster with it", "none")
        expect("--cores_per_run", cores >= 1, "1 or more", cores)
    jobs = plan(read_frameworks(config.frameworks, aligns), aligns, seeds, model, data, trainer)
    check_writable(trainer.log_dir)
    Path(trainer.log_dir).mkdir(parents=True, exist_ok=True)
    try:
        with lock_folder(trainer.log_dir), closing(_pool(config.cluster, cores, trainer)) as pool:
            done, failed = train_until(jobs, pool, by, looks=config.until is not None)
    except KeyboardInterrupt as interrupt:
        interrupt.args = ("interrupted; repeat the command to continue",)
        raise
    if done:
        if config.until is not None:
            say(how_long(done, by))
        folders = [str(done[job].folder) for job in jobs if job in done]
        flags = [f"--by={_ALIGN}"] if len({job.model.align for job in done}) > 1 else _disagreements(done)
        compare.main([*folders, f"--log_dir={trainer.log_dir}", *flags])
        if not failed and (config.until is None or len(done) == len(jobs)):
            say(f"      {_command_for(args, flag, 2 * seeds)}  # trains {seeds} more seeds")
    if failed:
        reasons = "; ".join(f"{job}: {reason}" for job, reason in failed.items())
        raise UserError(f"{len(failed)} of {len(jobs)} runs failed ({reasons}); repeat the command to train them")


def _pool(cluster: str | None, cores: int | None, trainer: TrainerSettings) -> Pool:
    """Where the runs are trained; imports Ray only for a cluster."""
    if cluster is None:
        return OneByOne()
    from keras_parity.study.cluster import Cluster

    return Cluster(cluster, cores, trainer)


def _command_for(args: Sequence[str], flag: str, seeds: int) -> str:
    """The command of this study, with another number of seeds."""
    _, others = read_early(args, flag)
    return shlex.join(["python", "-m", "keras_parity", "study", *others, f"--{flag}={seeds}"])


def _build_parser() -> OneLineErrors:
    purpose = (
        "Trains the frameworks alternately with each seed, compares the runs, and draws the images that the frameworks "
        "predict differently into LOG_DIR/disagreements.png. If you interrupt it, the same command continues: a "
        "finished run is never repeated."
    )
    parser = OneLineErrors(prog="python -m keras_parity study", description=purpose)
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="Settings from a YAML file.")
    parser.add_argument("--seeds", type=int | None, help=f"Number of seeds, starting at 0; default {_SEEDS['seeds']}.")
    which = f"Names of {', '.join(TITLES)}, separated by commas."
    parser.add_argument("--frameworks", default=f"{KERAS},{PYTORCH}", help=which)
    until = f"Compare after every seed, and stop once the row {PRIMARY} is decided."
    parser.add_argument("--until", choices=["decided"], default=None, help=until)
    most = f"With --until: maximum number of seeds; default {_SEEDS['max_seeds']}."
    parser.add_argument("--max_seeds", type=int | None, help=most)
    align = "Like --model.align; keras,native trains both."
    parser.add_argument("--align", default="keras", choices=_ALIGNS, help=align)
    where = "Train on a Ray cluster: local starts one on this machine, ADDRESS, such as 10.0.0.1:6379, uses yours."
    parser.add_argument("--cluster", type=str | None, metavar="local|ADDRESS", help=where)
    cores = "With --cluster: cores of each run; default: all of a node, so one run per node, or one run per GPU."
    parser.add_argument("--cores_per_run", type=int | None, help=cores)
    for group, kind in GROUPS.items():
        skipped = names(kind, "seed", "framework") | {"enable_progress_bar", "enable_model_summary"}
        parser.add_class_arguments(kind, group, skip=skipped)
    return parser


def _disagreements(done: Mapping[Job, Run]) -> list[str]:
    """The flags with which ``compare`` draws the images predicted differently; empty without a pair of runs."""
    first = min((job.framework for job in done), key=list(TITLES).index)  # with which the others are compared
    with_mistakes = (job for job, run in done.items() if (run.folder / mistakes.FILE).is_file())
    known = {(hashable(asdict(job.model)), job.framework == first) for job in with_mistakes}
    if max(Counter(model for model, _ in known).values(), default=0) < 2:
        return []
    job = next(iter(done))
    return [f"--disagreements={Path(job.trainer.log_dir, 'disagreements.png')}", f"--data.data_dir={job.data.data_dir}"]
