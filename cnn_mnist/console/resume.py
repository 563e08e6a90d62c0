"""``--resume=RUN_FOLDER``: a run that was stopped, at whatever moment, goes on in its own folder."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import yaml

from cnn_mnist.console.results import print_results
from cnn_mnist.errors import UserError
from cnn_mnist.runs.files import atomic_write_text
from cnn_mnist.runs.folder import CHECKPOINTS, CONFIG, ENDINGS, KERAS, RESULTS, newest_run, read_config
from cnn_mnist.schedules import spans_training

HELP = "Run folder to go on in as if the run had not stopped, or last for the newest; its own settings hold."

EVERY = "Steps between two checkpoints within an epoch, from which --resume goes on; 0 for none."

_EPOCHS = "trainer.max_epochs"
_BESIDE = (f"--{_EPOCHS}", "--trainer.enable_progress_bar", "--trainer.enable_model_summary", "--data.data_dir")
"""What may be typed beside it."""


def resumed(args: Sequence[str], framework: str) -> tuple[list[str], Path | None]:
    """The arguments of a run that goes on, in place of ``--resume``, and its folder; None without that flag.

    A run that is finished says so, and the process ends.

    Raises:
        UserError: It names no run of the framework, a flag beside it would make it another run, or more epochs would
            have its learning rate jump.
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--resume")
    known, rest = early.parse_known_args(args)
    if known.resume is None:
        return list(args), None
    folder = newest_run(framework) if known.resume == "last" else Path(known.resume)
    folder = folder if len(folder.parts) > 2 else folder.absolute()  # whose parents have names
    config = read_config(folder) or {}
    trainer = config.get("trainer")
    if not isinstance(trainer, dict) or ("log_dir" in trainer) != (framework == KERAS):
        raise UserError(f"--resume: expected a run folder of {framework} with its {CONFIG}, got {folder}; name another")
    for flag in rest:
        if flag.startswith("-") and flag.partition("=")[0] not in _BESIDE:
            raise UserError(f"--resume: expected none but {', '.join(_BESIDE)} beside it, got {flag}; leave it out")
    early.add_argument(f"--{_EPOCHS}", type=int, dest="epochs")
    before, asked = trainer.get("max_epochs"), early.parse_known_args(rest)[0].epochs
    if asked not in (None, before):
        model = config["model"]
        if asked < before:
            raise UserError(
                f"--{_EPOCHS}: expected more than the {before} of {folder}, got {asked}; train anew for fewer"
            )
        if spans_training(model.get("schedule"), model.get("warmup")):
            raise UserError(
                f"--{_EPOCHS}: expected {before}, over which the learning rate of {folder} was laid, got {asked}; a "
                "rate laid over another number would jump: leave the flag out, or train anew"
            )
        longer = config | {"trainer": trainer | {"max_epochs": asked}}
        atomic_write_text(folder / CONFIG, yaml.safe_dump(longer, sort_keys=False))
    elif (results := read_config(folder, RESULTS)) is not None:
        print(f"{folder} is finished; --{_EPOCHS} over {before} goes on\n")
        print_results(results, str(folder))
        raise SystemExit(0)
    own = any(Path(folder, CHECKPOINTS).glob(f"[!.]*{ENDINGS[framework]}"))  # else where it went on from at first
    return [f"--config={folder / CONFIG}", *rest, *["--ckpt_path=null"] * own], folder
