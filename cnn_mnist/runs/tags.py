"""The tags of a run's event files, with one meaning in both frameworks.

The step of every point is the number of optimizer updates done so far; loss is in nats, accuracy a fraction in
[0, 1], time in wall-clock seconds.
"""

from collections.abc import Mapping
from typing import Literal

SplitName = Literal["train", "val", "train_eval", "test"]
METRICS = ("loss", "acc")
EVALUATED: tuple[SplitName, ...] = ("test", "train_eval")
"""Splits that a trained network is evaluated on, in their order; the second is optional."""

SETUP_SECONDS = "time/setup_seconds"
EPOCH_SECONDS = "time/epoch_seconds"
FIT_SECONDS = "time/fit_seconds"
IMAGES_PER_SECOND = "throughput/images_per_second"

LAYERS = "model/layers"
TEXT_SUFFIX = "/text_summary"  # PyTorch's SummaryWriter adds it to the tag of a text
# TensorBoard sorts by name and opens the first groups, which should be losses and accuracies.
EXAMPLES = "visual/examples"
CONFUSION_MATRIX = "visual/confusion_matrix"
MISTAKES = "visual/mistakes"
PARAMETERS = "weights/parameters"


def tag(split: SplitName, metric: str) -> str:
    """Returns the tag of a split's loss or accuracy, for example ``"test/acc"``."""
    return f"{split}/{metric}"


def with_curves(values: Mapping[str, float]) -> dict[str, float]:
    """Adds ``curves/*`` copies of the values of ``train/*``.

    TensorBoard sorts by name and opens only the first groups; ``train`` comes after ``throughput`` and ``time``.
    """
    return {**values, **{f"curves/{tag.replace('/', '_')}": values[tag] for tag in values if tag.startswith("train/")}}
