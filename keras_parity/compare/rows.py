"""The rows of the results table: how each figure is read from a run, and its margin."""

import math
from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from statistics import fmean, harmonic_mean
from typing import NamedTuple

import numpy as np

from cnn_mnist.data.order import batch_count
from cnn_mnist.runs import tags
from keras_parity.logs.run import Run

ACC_MARGIN = 0.002
"""Margin of accuracies: 20 of 10,000 test images, two standard errors at an accuracy of 0.99."""

RATIO_MARGIN = 0.1
"""Margin of losses, times and speeds: ratios from 1 / 1.1 to 1.1 count as same."""

PRIMARY = tags.tag("test", "acc")
"""The primary row; its interval is a 95% interval however many other rows there are."""

_IMAGES, _TEST_IMAGES = 60_000, 10_000


class Row(NamedTuple):
    """One row.

    Attributes:
        title: The title as printed.
        format: Format of the figures.
        value: Reads the figure from a run; None if the run does not have it.
        margin: Largest difference that counts as same; None if the ratio is judged, with ``RATIO_MARGIN``.
        timed: Whether it is averaged and compared only on equal hardware.
    """

    title: str
    format: str
    value: Callable[[Run], float | None]
    margin: float | None = None
    timed: bool = False

    @property
    def greatest(self) -> float:
        """The largest possible figure; the smallest is 0 in every row."""
        return 1.0 if self.margin == ACC_MARGIN else math.inf

    @property
    def ratio(self) -> bool:
        """Whether the ratio of two figures is judged, on a logarithmic scale, instead of their difference."""
        return self.margin is None

    def judged(self, figure: float) -> float:
        """The figure on the scale of the judgement; NaN if it has no logarithm."""
        if self.ratio:
            return math.log(figure) if figure > 0 else math.nan
        return figure

    def limit(self, typed: float | None = None) -> float:
        """A typed margin on the scale of the judgement (0.1 of a ratio means 10%); None for the row's own margin."""
        if self.margin is None:
            return math.log1p(RATIO_MARGIN if typed is None else typed)
        return self.margin if typed is None else typed


def resolution(key: str, settings: Mapping[str, object], figures: Collection[float]) -> float:
    """Standard deviation of rounding an accuracy to whole images; 0 for rows that are no accuracies.

    Args:
        key: Key of the row.
        settings: Settings of a run; they give the number of images in the data sets that this project knows.
        figures: The accuracies; for other data sets, the smallest number of images that fits all of them is used.
    """
    split, _, metric = key.partition("/")
    if metric != "acc":
        return 0.0
    typed = settings.get("data.val_size")
    held_out = typed if isinstance(typed, int) and 0 < typed < _IMAGES else 0
    images = {"test": _TEST_IMAGES, "val": held_out or _TEST_IMAGES}.get(split, _IMAGES - held_out)
    if settings.get("data.dataset") is None or settings.get("data.file") is not None:
        images = _fewest_images(figures)
    return 1 / (images * math.sqrt(12))


def _fewest_images(accuracies: Collection[float]) -> int:
    """The smallest number of images of which each accuracy, a float32, may be a share."""
    counts = np.arange(1, _IMAGES + 1)
    with np.errstate(over="ignore", invalid="ignore"):  # infinite and huge figures are no shares
        right = np.outer(list(accuracies), counts)
        fits = (np.abs(right - right.round()) <= 1.2e-7 * counts).all(axis=0)
    return int(counts[fits.argmax()]) if fits.any() else _IMAGES


def _last(tag: str) -> Callable[[Run], float | None]:
    return lambda run: run.last(tag)


def _milliseconds_per_step(run: Run) -> float | None:
    epochs = run.points.get(tags.EPOCH_SECONDS)
    if not epochs:
        return None
    steps = [later.step - earlier.step for earlier, later in pairwise(epochs)]
    speed, batch_size = run.points.get(tags.IMAGES_PER_SECOND), run.settings.get("data.batch_size")
    if not steps and speed and batch_size:  # a single epoch; a resumed run does not start at step 0
        steps = [batch_count(round(epochs[0].value * speed[0].value), batch_size)]
    steps = steps or [epochs[0].step]
    return 1000 * fmean(point.value for point in epochs) / fmean(steps) if fmean(steps) else None


def _images_per_second(run: Run) -> float | None:
    # Each epoch has the same number of images, so the overall speed is the harmonic mean.
    speeds = [point.value for point in run.points.get(tags.IMAGES_PER_SECOND, []) if point.value > 0]
    return harmonic_mean(speeds) if speeds else None


ROWS: dict[str, Row] = {
    "train/acc": Row("acc train", ".4f", _last("train/acc"), ACC_MARGIN),
    "test/acc": Row("acc test", ".4f", _last("test/acc"), ACC_MARGIN),
    "train/loss": Row("loss train", ".4f", _last("train/loss")),
    "test/loss": Row("loss test", ".4f", _last("test/loss")),
    tags.FIT_SECONDS: Row("time (s)", ".1f", _last(tags.FIT_SECONDS), timed=True),
    "val/acc": Row("acc validation split", ".4f", _last("val/acc"), ACC_MARGIN),
    "val/loss": Row("loss validation split", ".4f", _last("val/loss")),
    "train_eval/acc": Row("acc train, final weights", ".4f", _last("train_eval/acc"), ACC_MARGIN),
    "train_eval/loss": Row("loss train, final weights", ".4f", _last("train_eval/loss")),
    tags.PARAMETERS: Row("parameters", ",.0f", _last(tags.PARAMETERS), 0.0),
    "ms_per_step": Row("ms per step", ".2f", _milliseconds_per_step, timed=True),
    tags.IMAGES_PER_SECOND: Row("images per second", ",.0f", _images_per_second, timed=True),
    tags.SETUP_SECONDS: Row("set-up time (s)", ".1f", _last(tags.SETUP_SECONDS), timed=True),
}
