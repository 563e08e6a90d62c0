"""The rows of the results table: how a run gives each figure, and which difference of it counts as none."""

from collections.abc import Callable
from itertools import pairwise
from statistics import fmean, harmonic_mean
from typing import NamedTuple

from cnn_mnist.data.order import batch_count
from cnn_mnist.runs import tags
from keras_parity.logs.run import Run

ACC_MARGIN = 0.002
"""20 of the 10,000 test images: two standard errors of an accuracy of 0.99."""

RELATIVE_MARGIN = 0.1
"""Part of Keras's mean: the margin of losses, times and speeds."""


class Row(NamedTuple):
    """One row.

    Attributes:
        title: As printed.
        format: Of its figures.
        value: A run's figure; None where it has none.
        margin: Greatest difference that counts as none; None for ``RELATIVE_MARGIN``.
    """

    title: str
    format: str
    value: Callable[[Run], float | None]
    margin: float | None = None


def _last(tag: str) -> Callable[[Run], float | None]:
    return lambda run: run.last(tag)


def _milliseconds_per_step(run: Run) -> float | None:
    epochs = run.points.get(tags.EPOCH_SECONDS)
    if not epochs:
        return None
    steps = [later.step - earlier.step for earlier, later in pairwise(epochs)]
    speed, batch_size = run.points.get(tags.IMAGES_PER_SECOND), run.settings.get("data.batch_size")
    if not steps and speed and batch_size:  # one epoch; a resumed run does not begin at step 0
        steps = [batch_count(round(epochs[0].value * speed[0].value), batch_size)]
    steps = steps or [epochs[0].step]
    return 1000 * fmean(point.value for point in epochs) / fmean(steps) if fmean(steps) else None


def _images_per_second(run: Run) -> float | None:
    # Each epoch takes the same images, so the speed of the whole is the harmonic mean.
    speeds = [point.value for point in run.points.get(tags.IMAGES_PER_SECOND, []) if point.value > 0]
    return harmonic_mean(speeds) if speeds else None


ROWS: dict[str, Row] = {
    "train/acc": Row("acc train", ".4f", _last("train/acc"), ACC_MARGIN),
    "test/acc": Row("acc test", ".4f", _last("test/acc"), ACC_MARGIN),
    "train/loss": Row("loss train", ".4f", _last("train/loss")),
    "test/loss": Row("loss test", ".4f", _last("test/loss")),
    tags.FIT_SECONDS: Row("time (s)", ".1f", _last(tags.FIT_SECONDS)),
    "val/acc": Row("acc validation split", ".4f", _last("val/acc"), ACC_MARGIN),
    "val/loss": Row("loss validation split", ".4f", _last("val/loss")),
    "train_eval/acc": Row("acc train, final weights", ".4f", _last("train_eval/acc"), ACC_MARGIN),
    "train_eval/loss": Row("loss train, final weights", ".4f", _last("train_eval/loss")),
    tags.PARAMETERS: Row("parameters", ",.0f", _last(tags.PARAMETERS), 0.0),
    "ms_per_step": Row("ms per step", ".2f", _milliseconds_per_step),
    tags.IMAGES_PER_SECOND: Row("images per second", ",.0f", _images_per_second),
    tags.SETUP_SECONDS: Row("set-up time (s)", ".1f", _last(tags.SETUP_SECONDS)),
}
