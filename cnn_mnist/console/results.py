"""What the Lightning commands print when they are done."""

import math
from pathlib import Path

import yaml

from cnn_mnist.console.tables import print_table
from cnn_mnist.errors import UserError
from cnn_mnist.runs import tags
from cnn_mnist.runs.files import atomic_write_text
from cnn_mnist.runs.folder import LOG_DIR, PYTORCH, RESULTS

_SPLITS: dict[tags.SplitName, str] = {
    "train": "train, running mean of the last epoch",
    "val": "validation split",
    "train_eval": "training set, final weights",
    "test": "test set, final weights",
}


def save_and_print_results(metrics: dict[str, float], run: str | None) -> None:
    """As ``print_results``; the run folder keeps the figures, by which ``--resume`` knows that the run is finished."""
    print_results(metrics, run)
    if run is not None:
        atomic_write_text(Path(run, RESULTS), yaml.safe_dump(metrics))


def print_results(metrics: dict[str, float], run: str | None) -> None:
    """Prints loss and accuracy of every split, the time, the run folder and the next command.

    Args:
        metrics: By tag, as logged.
        run: The run folder; None for a run without a log.

    Raises:
        UserError: A figure is NaN or infinite.
    """
    odd = [tag for tag, value in metrics.items() if not math.isfinite(value)]
    if odd:
        raise UserError(
            f"expected finite results, got {odd[0]}={metrics[odd[0]]} in {run}; lower --model.learning_rate"
        )
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
        log_dir = str(Path(run).parent.parent)
        usual = log_dir == LOG_DIR
        following = "python -m keras_parity compare" + ("" if usual else f" '{log_dir}/*/version_*'")
        if Path(run).parent.name == PYTORCH:
            following = f"python -m keras_parity --twin_of {run}" + ("" if usual else f" --trainer.log_dir={log_dir}")
        print(f"run:  {run}\nnext: {following}\n      tensorboard --logdir {log_dir}")
