"""Trains one of two runs anew with the other's settings, one part of them at a time."""

import sys
import warnings
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from cnn_mnist.architecture.descriptions import title
from cnn_mnist.architecture.initial_weights import Rule, initial_weights
from cnn_mnist.console.tables import print_text
from cnn_mnist.errors import UserError, UserNotice
from cnn_mnist.runs.files import whole
from cnn_mnist.runs.folder import ENDINGS, KERAS, LOG_DIR, PYTORCH, read_config
from cnn_mnist.settings import ModelSettings
from keras_parity.compare.rows import PRIMARY
from keras_parity.gap.found import Gap, Swap
from keras_parity.logs.folders import all_folders
from keras_parity.logs.run import Run, read_run
from keras_parity.study.runner import Runner

SEEDS = 2
"""Trainings with other seeds, which say how far a figure moves by chance."""

_FRAMEWORK, _SEED, _WEIGHTS, _ALIGN = "framework", "seed_everything", "initial weights", "model.align"
_MODEL = ("align", "optimizer", "learning_rate", "rho", "epsilon", "momentum", "centered", "nesterov", "beta_1")
_PARTS = {
    "data order": (_SEED,),
    "images": ("data.dataset", "data.file", "data.val_size", "data.shift", "data.rotation"),
    "batches": ("data.batch_size", "trainer.limit_train_batches"),
    "network": ("model.architecture",),
    "optimizer": tuple(f"model.{name}" for name in (*_MODEL, "beta_2", "weight_decay")),
    "gradient clipping": ("trainer.gradient_clip_val", "trainer.gradient_clip_algorithm"),
    "schedule": tuple(
        f"model.{name}" for name in ("schedule", "warmup", "decay_rate", "decay_steps", "anneal_strategy")
    ),
    "loss": ("model.label_smoothing", "model.softmax_before_loss"),
    "epochs": ("trainer.max_epochs",),
    "precision": ("trainer.precision",),
}
"""What is swapped in one piece, by flag; a flag that stands nowhere here is a piece of its own."""

Flags = dict[str, Any]


def explain_gap(
    run_a: str | Path, run_b: str | Path, tag: str = PRIMARY, log_dir: str | Path = Path(LOG_DIR, "gap")
) -> Gap:
    """Trains one of two runs anew with the other's data order, initial weights, optimizer and so on, one at a time.

    Whatever is swapped, the initial weights stay the run's own but where they are what is swapped; so the seed swaps
    the order of the images (with what is held out, and the masks of dropout) alone. Of a run of each framework,
    PyTorch's is trained anew, which has both formulas of the optimizers. Every training is a run folder, and one that
    is there already is not trained again.

    Example:
        >>> print(explain_gap("lightning_logs/pytorch/version_0", "lightning_logs/pytorch/version_1"))

    Args:
        run_a: A finished run folder of this project.
        run_b: Another.
        tag: The figure, one value a run, such as ``test/loss``.
        log_dir: Folder of the trainings.

    Raises:
        UserError: A run is not whole, or a training fails.
    """
    first, second = (_read(run, tag) for run in (run_a, run_b))
    if first.framework == KERAS != second.framework:
        first, second = second, first
    mine, theirs = _flags(first), _flags(second)
    trainings = {part: (change, flags, weights) for part, change, flags, weights in _swapped(mine, theirs)}
    parts = list(trainings)
    for seed in range(mine[_SEED] + 1, mine[_SEED] + 1 + SEEDS) if parts else ():
        trainings[f"{_SEED} {seed}"] = ("", reseeded := mine | {_SEED: seed}, reseeded)
    a, b = (run.points[tag][-1].value for run in (first, second))
    found = dict[str, float]()
    with closing(Runner()) as runner:
        for part, (_, flags, weights) in trainings.items():
            found[part] = _figure(runner, Path(log_dir), flags, weights, tag)
            print_text(f"{part}: {tag} {found[part]:.4f}")
    swaps = tuple(Swap(part, trainings[part][0], found[part], b - found[part]) for part in parts)
    chance = max((abs(found[part] - a) for part in found.keys() - set(parts)), default=0.0)
    return Gap(tag, first.folder, second.folder, (a, b), swaps, chance)


def _read(folder: str | Path, tag: str) -> Run:
    """The run, whole and with the figure.

    Raises:
        UserError: It is not.
    """
    run = read_run(folder)
    if "model.architecture" not in run.settings or run.seed is None or not run.finished or "ckpt_path" in run.settings:
        raise UserError(f"expected a finished run of this project, trained from its beginning, got {folder}")
    if tag not in run.points:
        raise UserError(f"expected a figure that both runs have, got {tag}, which {folder} has not")
    return run


def _flags(run: Run) -> Flags:
    """Its settings by flag, the framework and the seed too; Keras's own formulas are what ``align`` means there."""
    data = (read_config(run.folder) or {}).get("data") or {}
    flags = run.settings | {_FRAMEWORK: run.framework, _SEED: run.seed, "data.data_dir": data.get("data_dir", "data")}
    return flags | ({_ALIGN: "keras"} if run.framework == KERAS else {})


def _swapped(mine: Flags, theirs: Flags) -> Iterator[tuple[str, str, Flags, Flags]]:
    """Part, change, the flags of the training, and those that its initial weights are drawn by."""
    differ = [name for name in {**mine, **theirs} if mine.get(name) != theirs.get(name) and name != "data.data_dir"]
    of = {name: part for part, names in _PARTS.items() for name in names}
    for part in dict.fromkeys(of.get(name, name) for name in differ):
        names = [name for name in differ if of.get(name, name) == part]
        swapped = mine | {name: theirs.get(name) for name in names}
        change = ", ".join(f"{name.rpartition('.')[2]} {_said(name, mine)} to {_said(name, theirs)}" for name in names)
        yield part, change, swapped, swapped | {name: mine[name] for name in (_SEED, _ALIGN, _FRAMEWORK)}
    if _draw(mine) != _draw(theirs):
        change = " to ".join("{}, seed {}".format(*_draw(flags)) for flags in (mine, theirs))
        yield _WEIGHTS, change, mine, theirs | {"model.architecture": mine["model.architecture"]}


def _said(name: str, flags: Flags) -> str:
    value = flags.get(name)
    return title(value) if name == "model.architecture" else str(value)


def _draw(flags: Flags) -> tuple[Rule, int]:
    """The rule and the seed of a run's initial weights."""
    native = flags[_FRAMEWORK] == PYTORCH and flags[_ALIGN] == "native"
    return "pytorch" if native else "keras", flags[_SEED]


def _figure(runner: Runner, log_dir: Path, flags: Flags, weights: Flags, tag: str) -> float:
    """What a training comes to, which is run unless it is there.

    Raises:
        UserError: It fails.
    """
    start = _start(log_dir, flags, weights)
    typed = flags | {"ckpt_path": str(start), "trainer.enable_progress_bar": False}
    typed["data.train_eval"] = tag.startswith("train_eval")
    keras = typed.pop(_FRAMEWORK) == KERAS
    typed["trainer.log_dir" if keras else "trainer.logger.save_dir"] = log_dir
    module = ["keras_parity"] if keras else ["cnn_mnist", "fit"]
    said = ""
    for train in True, False:
        for run in map(read_run, all_folders(log_dir)):
            if run.finished and run.settings.get("ckpt_path") == str(start) and tag in run.points:
                return run.points[tag][-1].value
        if train:
            command = [sys.executable, "-m", *module, *(f"--{n}={v}" for n, v in typed.items() if v is not None)]
            said = runner.run(command)
    raise UserError(f"a training of the gap failed ({said})")


def _start(log_dir: Path, flags: Flags, weights: Flags) -> Path:
    """A checkpoint before the first step, named by all that its training depends on."""
    from keras_parity.convert.cli import FORMATS  # here, since it imports both frameworks
    from keras_parity.convert.portable import Portable

    named = zlib.crc32(repr(sorted((flags | {_WEIGHTS: _draw(weights)}).items())).encode())
    path = log_dir / "initial_weights" / f"{named:08x}{ENDINGS[flags[_FRAMEWORK]]}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        model = {name.removeprefix("model."): value for name, value in flags.items() if name.startswith("model.")}
        with warnings.catch_warnings(action="ignore", category=UserNotice):  # the user knows the run's settings
            settings = ModelSettings(**model, seed=flags[_SEED])
        portable = Portable(dict(initial_weights(settings.network, *_draw(weights))), settings)
        with whole(path) as aside:
            FORMATS[path.suffix].write(portable, aside)
    return path
