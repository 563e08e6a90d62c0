"""The settings of both trainers; the defaults are the published experiment.

Each setting is entered once, here. Its field has name, type, default and group; its line in the class's docstring is
the help; ``OPTIMIZERS`` has its name in each framework. Parsers, run records, study and ladder read this list.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeVar

from cnn_mnist.architecture.descriptions import Description, plain, read_network
from cnn_mnist.architecture.from_keras import take_over_penalty
from cnn_mnist.architecture.network import CLASSES, Network
from cnn_mnist.errors import UserError, expect, nearest, notify
from cnn_mnist.setting_checks import FRACTION, POSITIVE, Range, at_least, check_settings

SOFTMAX_TWICE_FLOOR = math.log(1 + (CLASSES - 1) / math.e)
"""Least possible cross-entropy in nats if the "logits" are probabilities: a 1 and nine 0s."""

KnownName = Literal["mnist", "fashion_mnist", "kmnist"]

MAX_EPOCHS = 10
SEED = 0
SEEDS = Range(f"0 to {2**32 - 1}", lambda value: 0 <= value < 2**32)
"""Valid seeds, those of numpy and Lightning."""

_FACTOR = Range("over 0 and at most 1", lambda value: 0 < value <= 1)
_ANGLE = Range("0 to 180 degrees", lambda value: 0 <= value <= 180)

Part = Literal["network", "framework", "optimizer", "schedule", "loss", "images", "training", "seed", "surroundings"]
"""Groups of settings; two runs of one experiment may differ in seed and surroundings."""


_Value = TypeVar("_Value")


def setting(part: Part, default: _Value, valid: Range | None = None) -> _Value:
    """Returns a dataclass field with its group, default and range."""
    return field(default=default, metadata={"part": part, "range": valid})


class Settings:
    """Base class of the groups of settings: checks the type and the range of each field."""

    def __post_init__(self) -> None:
        check_settings(self, {e.name: e.metadata["range"] for e in fields(self)})  # type: ignore[arg-type]


def names(kind: type, *parts: Part) -> set[str]:
    """Returns the names of a class's settings in the given groups."""
    return {entry.name for entry in fields(kind) if entry.metadata["part"] in parts}


class Optimizer(NamedTuple):
    """An optimizer's names in the frameworks.

    Attributes:
        name: Its class in ``torch.optim`` and in ``keras.optimizers``.
        takes: Its settings besides learning rate and weight decay, each with PyTorch's name; Keras's name is ours.
    """

    name: str
    takes: Mapping[str, str]


_ADAM = {"beta_1": "betas", "beta_2": "betas", "epsilon": "eps"}
OPTIMIZERS = {
    "rmsprop": Optimizer("RMSprop", {"rho": "alpha", "epsilon": "eps", "momentum": "momentum", "centered": "centered"}),
    "adam": Optimizer("Adam", _ADAM),
    "adamw": Optimizer("AdamW", _ADAM),
    "sgd": Optimizer("SGD", {"momentum": "momentum", "nesterov": "nesterov"}),
}


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Settings):
    """Network, optimizer, schedule and loss.

    Args:
        architecture: The network: a name (python -m cnn_mnist summary --list), a list of layers, or a file with one
            (.yaml, .json, .keras, .ckpt, .safetensors).
        align: "keras" uses Keras's initial weights and update formulas in both frameworks; "native" uses each
            framework's own.
        optimizer: rmsprop, adam, adamw or sgd.
        learning_rate: Learning rate, over 0.
        rho: Decay of RMSprop's mean squared gradient, in [0, 1); PyTorch calls it alpha.
        epsilon: Added to the denominator of RMSprop, Adam and AdamW for numerical stability.
        momentum: Momentum of RMSprop and SGD, in [0, 1).
        centered: RMSprop divides by the variance of the gradient instead of its mean square.
        nesterov: Nesterov momentum for SGD.
        beta_1: Decay of Adam's and AdamW's mean gradient, in [0, 1).
        beta_2: Decay of Adam's and AdamW's mean squared gradient, in [0, 1).
        weight_decay: Decoupled weight-decay coefficient, as in Keras; with align=native, PyTorch's own.
        schedule: "constant"; "step": times ``decay_rate`` every ``decay_steps``; "cosine": half a cosine to 0; or
            "one_cycle": from 1/25 of the learning rate up to it and down to 1/250,000, with constant momentum.
        warmup: Fraction of the updates in which the rate rises to the learning rate, in [0, 1): linearly from 0, or
            as the first phase of one_cycle, which requires it.
        decay_rate: Factor of the step schedule, over 0 and at most 1.
        decay_steps: Updates between two factors of the step schedule.
        anneal_strategy: Shape of one_cycle: half a cosine ("cos") or linear ("linear").
        label_smoothing: Label-smoothing factor, in [0, 1); the loss of every split uses the smoothed targets.
        softmax_before_loss: Repeats the published mistake: softmax before the cross-entropy from logits. The loss
            then cannot fall below 1.461150.
        seed: Seed of the initial weights, at least 0.

    Raises:
        UserError: A value is out of range.
    """

    architecture: Description = setting("network", "three_conv")
    align: Literal["keras", "native"] = setting("framework", "keras")
    optimizer: Literal["rmsprop", "adam", "adamw", "sgd"] = setting("optimizer", "rmsprop")
    learning_rate: float = setting("optimizer", 1e-3, POSITIVE)
    rho: float = setting("optimizer", 0.9, FRACTION)
    epsilon: float = setting("optimizer", 1e-7, POSITIVE)
    momentum: float = setting("optimizer", 0.0, FRACTION)
    centered: bool = setting("optimizer", False)
    nesterov: bool = setting("optimizer", False)
    beta_1: float = setting("optimizer", 0.9, FRACTION)
    beta_2: float = setting("optimizer", 0.999, FRACTION)
    weight_decay: float = setting("optimizer", 0.0, at_least(0))
    schedule: Literal["constant", "step", "cosine", "one_cycle"] = setting("schedule", "constant")
    warmup: float = setting("schedule", 0.0, FRACTION)
    decay_rate: float = setting("schedule", 0.5, _FACTOR)
    decay_steps: int = setting("schedule", 1000, at_least(1, "updates"))
    anneal_strategy: Literal["cos", "linear"] = setting("schedule", "cos")
    label_smoothing: float = setting("loss", 0.0, FRACTION)
    softmax_before_loss: bool = setting("loss", False)
    seed: int = setting("seed", SEED, SEEDS)

    def __post_init__(self) -> None:
        super().__post_init__()
        network = read_network(self.architecture)
        decay = take_over_penalty(network, self.optimizer, self.momentum, self.weight_decay)
        object.__setattr__(self, "architecture", plain(network))  # the file may move later
        object.__setattr__(self, "weight_decay", decay)
        expect("nesterov", self.momentum > 0 or not self.nesterov, "a momentum over 0 with it", self.momentum)
        rises = self.warmup > 0 or self.schedule != "one_cycle"
        expect("warmup", rises, "over 0 with one_cycle (usual: 0.3)", self.warmup)
        smooth = self.label_smoothing
        expect("label_smoothing", not (smooth and self.softmax_before_loss), "0 with softmax_before_loss", smooth)
        if self.softmax_before_loss:
            notify(
                "softmax_before_loss: softmax is applied twice, so the loss cannot fall below "
                f"ln(1 + {CLASSES - 1}/e) = {SOFTMAX_TWICE_FLOOR:.6f}; use it only to reproduce the published loss"
            )

    @property
    def optimizer_settings(self) -> dict[str, Any]:
        """The optimizer's settings besides learning rate and weight decay, by our names."""
        return {name: getattr(self, name) for name in OPTIMIZERS[self.optimizer].takes}

    @cached_property
    def network(self) -> Network:
        """The network."""
        return read_network(self.architecture)


@dataclass(frozen=True, kw_only=True)
class DataSettings(Settings):
    """Images and batches.

    Args:
        data_dir: Folder of the known data sets, in torchvision's layout; missing files are saved there.
        dataset: mnist, fashion_mnist or kmnist.
        file: Your own .npz file instead, with x_train, y_train, x_test and y_test: images uint8 [n, height, width] or
            [n, height, width, channels], labels uint8 from 0.
        channels_first: Whether the file's images are [n, channels, height, width]; None to detect it.
        batch_size: Images in a batch, summed over all processes; the last batch of an epoch may be smaller.
        val_size: Training images held out for validation, stratified by class.
        shift: Maximum shift of a training image in pixels along each axis, redrawn every epoch.
        rotation: Maximum rotation of a training image in degrees, in [0, 180], redrawn every epoch.
        train_eval: Also evaluate the trained network on the training set.
        seed: Seed of image order, validation split and augmentation, at least 0.

    Raises:
        UserError: A value is out of range.
    """

    data_dir: str = setting("surroundings", "data")
    dataset: KnownName = setting("images", "mnist")
    file: str | None = setting("images", None)
    channels_first: bool | None = setting("images", None)
    batch_size: int = setting("training", 64, at_least(1, "images"))
    val_size: int = setting("images", 0, at_least(0, "images"))
    shift: int = setting("images", 0, at_least(0, "pixels"))
    rotation: float = setting("images", 0.0, _ANGLE)
    train_eval: bool = setting("surroundings", True)
    seed: int = setting("seed", SEED, SEEDS)

    def __post_init__(self) -> None:
        super().__post_init__()
        expect("dataset", self.file is None or self.dataset == "mnist", "no other data set with a file", self.dataset)


def check_names(kind: type[ModelSettings | DataSettings], typed: Iterable[str]) -> None:
    """Raises ``UserError``, with the nearest name, if ``kind`` has no field of a given name."""
    known = [field.name for field in fields(kind)]
    for name in typed:
        if name not in known:
            raise UserError(f"expected a setting of {kind.__name__}, got {name}{nearest(name, known)}")
