"""The figures of the published experiment, and the meaning of its PyTorch loss."""

from collections.abc import Mapping

from cnn_mnist.runs.folder import KERAS, PYTORCH
from cnn_mnist.settings import SOFTMAX_TWICE_FLOOR
from keras_parity.compare.columns import Column
from keras_parity.compare.intervals import Estimate
from keras_parity.compare.sides import TITLES
from keras_parity.settings import GROUPS

_NAMES = {
    "model": ("architecture", "optimizer"),
    "data": ("dataset", "file", "batch_size", "shift", "rotation"),
    "trainer": ("max_epochs",),
}
SETTINGS = {f"{group}.{name}": getattr(GROUPS[group], name) for group, names in _NAMES.items() for name in names}
"""The settings by which a run is recognised as the published experiment, whose values are the defaults."""

_FREE = {"trainer.max_epochs", "trainer.precision"}
"""Settings of a trainer that every run has."""

_TAGS = ("train/acc", "test/acc", "train/loss", "test/loss", "time/fit_seconds")
RESULTS: dict[str, dict[str, float]] = {
    KERAS: dict(zip(_TAGS, (0.9980, 0.9902, 0.0074, 0.0435, 409.031732), strict=True)),
    PYTORCH: dict(zip(_TAGS, (0.9916, 0.9913, 0.022975, 0.023077, 815.372076), strict=True)),
}
"""Of "CNN con Keras y PyTorch": 10 epochs, batch 64, 60,000 training and 10,000 test images."""

_IMAGES_AND_BATCHES = {"train/loss": (60_000, 938), "test/loss": (10_000, 157)}


def is_published(settings: Mapping[str, object]) -> bool:
    """Whether a run with these settings is the published experiment: whole epochs, from initial weights."""
    others = {name for name in settings if name.startswith(("trainer.", "ckpt_path"))} - _FREE
    return SETTINGS.items() <= settings.items() and not others


def loss_per_batch(tag: str) -> float:
    """Converts the published PyTorch loss to a mean over batches.

    The published script divides the sum of the batch means by the number of images instead of batches.

    Args:
        tag: ``"train/loss"`` or ``"test/loss"``.

    Returns:
        The mean loss, in nats.
    """
    images, batches = _IMAGES_AND_BATCHES[tag]
    return RESULTS[PYTORCH][tag] * images / batches


def columns() -> list[Column]:
    """The published figures as columns of a table."""
    cells = {framework: {tag: Estimate(x) for tag, x in figures.items()} for framework, figures in RESULTS.items()}
    return [Column(f"published {TITLES[name]}", TITLES[name], name, (), cells[name]) for name in cells]


def is_no_mean(column: Column, tag: str) -> bool:
    """Whether a figure is a published PyTorch loss, which ``footnote`` explains."""
    return not column.runs and column.framework == PYTORCH and tag in _IMAGES_AND_BATCHES


def footnote() -> str:
    """Explains the figures marked with an asterisk."""
    train, test = (f"{loss_per_batch(tag):.4f}" for tag in _IMAGES_AND_BATCHES)
    return (
        "* Not a mean loss: the published PyTorch network applies softmax before CrossEntropyLoss, which applies it "
        "again, and divides the sum of the batch means by the number of images. Divided by the number of batches it is "
        f"{train} (train) and {test} (test); with softmax applied twice, it cannot fall below "
        f"{SOFTMAX_TWICE_FLOOR:.6f}."
    )
