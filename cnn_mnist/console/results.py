"""The results that a training or an evaluation prints at its end."""

import math
from collections.abc import Mapping
from pathlib import Path
from shlex import quote

import yaml

from cnn_mnist.console.tables import print_table
from cnn_mnist.errors import UserError
from cnn_mnist.neutral import say
from cnn_mnist.runs import tags
from cnn_mnist.runs.files import atomic_write_text
from cnn_mnist.runs.folder import CHECKPOINTS, FRAMEWORKS, LOG_DIR, PYTORCH, RESULTS, checkpoints, read_config, step_of

_STEP = "step"
"""Key of the number of updates of the final weights among the results."""

_SPLITS: dict[tags.SplitName, str] = {
    "train": "train, running mean of the last epoch",
    "val": "validation split",
    "train_eval": "training set, final weights",
    "test": "test set, final weights",
}


def save_and_print_results(metrics: dict[str, float], run: Path | None, step: int) -> None:
    """Prints the results and saves them in the run folder, which marks the run as finished for ``--resume``.

    Args:
        metrics: Values by tag.
        run: The run folder; None without a log.
        step: Optimizer updates of the final weights.

    Raises:
        UserError: A value is NaN or infinite.
    """
    print_results(metrics, run)
    if run is not None:
        atomic_write_text(Path(run, RESULTS), yaml.safe_dump(metrics | {_STEP: step}))
        kept = checkpoints(run)
        if kept and all(step_of(file) != step for file in kept):
            say(f"note: the results are of the final weights; {weights_line(kept[0])}")


def weights_line(checkpoint: Path) -> str:
    """Names the weights in a checkpoint, and says whether the results of its run are of the same weights.

    Args:
        checkpoint: The file; in a run folder or elsewhere.
    """
    line, own = f"weights: {checkpoint}", checkpoint.parent.name == CHECKPOINTS
    final = (read_config(checkpoint.parent.parent, RESULTS) or {}).get(_STEP) if own else None
    if final is None:
        return line
    if step_of(checkpoint) == final:
        return f"{line}, the final ones of the run"
    return f"{line}, not the final ones of step {final:,}, which the run's results describe"


def print_results(metrics: Mapping[str, float], run: Path | None) -> None:
    """Prints loss and accuracy of each split, the training time, the run folder and the next commands.

    Args:
        metrics: Values by tag.
        run: The run folder; None without a log.

    Raises:
        UserError: A value is NaN or infinite.
    """
    for tag, value in metrics.items():
        if not math.isfinite(value):
            raise UserError(f"expected finite results, got {tag}={value} in {run}; lower --model.learning_rate")
    rows = [("", "loss", "accuracy")]
    for split, title in _SPLITS.items():
        loss, acc = (metrics.get(tags.tag(split, name)) for name in tags.METRICS)
        if loss is not None and acc is not None:
            rows.append((title, f"{loss:.4f}", f"{acc:.4f}"))
    print_table(rows, title="results")
    if tags.FIT_SECONDS in metrics:
        speed = metrics[tags.IMAGES_PER_SECOND]
        print(f"training took {metrics[tags.FIT_SECONDS]:.1f} s, at {speed:,.0f} images/s in the last epoch")
    if run is not None:
        log_dir, folder = quote(str(run.parent.parent)), quote(str(run))
        default = run.parent.parent == Path(LOG_DIR)
        if run.parent.name in FRAMEWORKS and run.parent.name != PYTORCH:
            command = "python -m keras_parity compare" + f" {log_dir}" * (not default)
        else:  # a CSVLogger names the folder as the user likes
            command = f"python -m keras_parity --twin_of {folder}" + f" --trainer.log_dir={log_dir}" * (not default)
        seen = any(run.glob("events.out.tfevents*"))
        say(f"run:  {run}\nnext: {command}" + f"\n      tensorboard --logdir {log_dir}" * seen)
