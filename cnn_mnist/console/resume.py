"""``--resume=RUN_FOLDER`` continues an interrupted run in its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnn_mnist.console.arguments import read_early
from cnn_mnist.console.results import print_results
from cnn_mnist.errors import UserError, expect
from cnn_mnist.neutral import say
from cnn_mnist.runs.data_file import change_since
from cnn_mnist.runs.folder import CONFIG, PYTORCH, RESULTS, checkpoints, newest_run, read_config, read_settings
from cnn_mnist.schedules import spans_training

HELP = "Resume this run folder (`last`: the newest run) with its saved settings."

EVERY = "Steps between checkpoints within an epoch (0: none); a checkpoint is always saved after each epoch."

_EPOCHS = "trainer.max_epochs"
_ALLOWED = (f"--{_EPOCHS}", "--trainer.enable_progress_bar", "--trainer.enable_model_summary", "--data.data_dir")
_PROCESSES = ("--trainer.devices", "--trainer.num_nodes", "--trainer.strategy")
"""Flags that may be combined with ``--resume``; ``_PROCESSES`` only in PyTorch."""


def resumed(args: Sequence[str], framework: str) -> tuple[list[str], Path | None]:
    """Replaces ``--resume`` by the arguments of the run that it names.

    If the run is finished, prints its results and exits.

    Args:
        args: The arguments of ``fit`` or of the twin.
        framework: ``"pytorch"`` or ``"keras"``.

    Returns:
        The new arguments, and the run folder; None without ``--resume``.

    Raises:
        UserError: ``--resume`` names no run of the framework, another flag contradicts the run, or the learning rate
            would jump.
    """
    known, rest = read_early(args, "resume")
    if known["resume"] is None:
        return list(args), None
    folder = newest_run(framework) if known["resume"] == "last" else Path(known["resume"])
    folder = folder if len(folder.parts) > 2 else folder.absolute()  # so that its parents have names
    config = read_settings(folder) or {}
    trainer = config.get("trainer")
    if not isinstance(trainer, dict) or ("log_dir" in trainer) != (framework != PYTORCH):
        raise UserError(f"--resume: expected a run folder of {framework} with its {CONFIG}, got {folder}; name another")
    known_flags = (*_ALLOWED, *(_PROCESSES if framework == PYTORCH else ()))
    for flag in rest:
        allowed = not flag.startswith("-") or flag.partition("=")[0] in known_flags
        expect("--resume", allowed, f"no other flags but {', '.join(known_flags)}", f"{flag}; omit it")
    _check_logger(trainer, folder)
    before, asked = trainer.get("max_epochs"), read_early(rest, _EPOCHS, kind=int)[0][_EPOCHS]
    if asked not in (None, before):
        model = config.get("model") or {}
        limited = isinstance(before, int) and before >= 1
        none = f"none, because {folder} has no limit of epochs"
        expect(f"--{_EPOCHS}", limited, none, f"{asked}; omit the flag")
        more, fewer = f"more than the {before} of {folder}", f"{asked}; start a new run for fewer"
        expect(f"--{_EPOCHS}", asked > before, more, fewer)
        free = not spans_training(model.get("schedule"), model.get("warmup"))
        jump = "the learning rate would jump: omit the flag, or start a new run"
        same = f"{before}, because the schedule of {folder} depends on it"
        expect(f"--{_EPOCHS}", free, same, f"{asked}; {jump}")
    elif (results := read_config(folder, RESULTS)) is not None:
        say(f"{folder} is finished; to train longer, add --{_EPOCHS} over {before}\n")
        print_results(results, folder)
        raise SystemExit(0)
    if change := change_since(folder, (config.get("data") or {}).get("file")):
        raise UserError(f"--resume: {change}; restore the file, or start a new run")
    own = checkpoints(folder, framework)  # otherwise config.yaml names one
    return [f"--config={folder / CONFIG}", *rest, *["--ckpt_path=null"] * bool(own)], folder


def _check_logger(trainer: Mapping[str, Any], folder: Path) -> None:
    """Raises ``UserError`` unless one TensorBoard log is all that the run writes: no other can be cut back."""
    logger = trainer.get("logger", True)
    entries = logger if isinstance(logger, list) else [logger]
    kinds = [entry.get("class_path") if isinstance(entry, Mapping) else entry for entry in entries]
    names = [str(kind).rpartition(".")[2] for kind in kinds]
    right = names in (["True"], ["RunLogger"], ["TensorBoardLogger"])
    came = f"{folder} with {' and '.join(names)}; continue in a new folder with --ckpt_path"
    expect("--resume", right, "a run with the default logger", came)
