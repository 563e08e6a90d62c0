"""What the Lightning commands print when they are done."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.console.tables import print_table
from cnn_mnist.errors import UserError
from cnn_mnist.runs import tags
from cnn_mnist.runs.folder import LOG_DIR, PYTORCH

_SPLITS: dict[tags.SplitName, str] = {
    "train": "train, running mean of the last epoch",
    "val": "validation split",
    "train_eval": "training set, final weights",
    "test": "test set, final weights",
}


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


def print_predictions(predictions: list[dict[str, Any]], labels: NDArray[np.uint8], most: int = 20) -> None:
    """Prints the predictions of the first images and how many of all are right.

    Args:
        predictions: What ``Classifier.predict_step`` gave for each batch.
        labels: uint8 [n], in the order of the data set.
        most: How many images are listed.
    """
    if not predictions:
        raise UserError("expected predictions, got none; leave --return_predictions and --trainer.limit_* out")
    index, digit, probabilities = (
        np.concatenate([batch[name].cpu().numpy() for batch in predictions])
        for name in ("index", "digit", "probabilities")
    )
    rows = [("image", "label", "digit", "probability")]
    for i, d, p in zip(index[:most], digit, probabilities, strict=False):
        rows.append((str(i), str(labels[i]), str(d), f"{p[d]:.4f}"))
    print_table(rows, title=f"first {len(rows) - 1} of {len(index)} test images", numbers_from=0)
    print(f"{int((digit == labels[index]).sum())} of {len(index)} right")
