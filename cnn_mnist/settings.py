"""The settings both trainers share, with the published experiment as their defaults.

This is the one list of them: name, type and default of a setting are its field, its help is the line in the class's
docstring, what it is a part of is its ``setting``, and what each framework calls it stands in ``OPTIMIZERS``. The
command lines, the records of a run, the study and the ladder take it from here.
"""

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeVar, get_args

from cnn_mnist.architecture.descriptions import Description, plain, read_network
from cnn_mnist.architecture.network import CLASSES, Network
from cnn_mnist.errors import UserError, UserNotice, nearest

SOFTMAX_TWICE_FLOOR = math.log(1 + (CLASSES - 1) / math.e)
"""Least possible cross-entropy, in nats, when the "logits" are probabilities: a 1 against nine 0s."""

KnownName = Literal["mnist", "fashion_mnist", "kmnist"]

MAX_EPOCHS = 10
SEED = 0
SEEDS = 2**32
"""Seeds lie under this; numpy and Lightning take no greater one."""

Part = Literal["network", "framework", "optimizer", "schedule", "loss", "images", "training", "seed", "surroundings"]
"""What a setting is a part of; two runs of one experiment may differ in the seed and the surroundings."""


_Value = TypeVar("_Value")


def setting(part: Part, default: _Value) -> _Value:
    """A field of settings, with its default."""
    return field(default=default, metadata={"part": part})


def names(kind: type, *parts: Part) -> set[str]:
    """The settings of a class that are of some parts."""
    return {entry.name for entry in fields(kind) if entry.metadata["part"] in parts}


class Optimizer(NamedTuple):
    """What both frameworks call an optimizer, and which settings it takes beside rate and weight decay.

    Attributes:
        name: Its class in ``torch.optim`` and in ``keras.optimizers``.
        takes: PyTorch's name of each of these settings; Keras's is our own.
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
class ModelSettings:
    """What is trained, and by which rule.

    Args:
        architecture: The network: a name (python -m cnn_mnist summary --list), a list of layers, or a file with one
            (.yaml, .json, .keras, .ckpt, .safetensors).
        align: "keras" starts from Keras's initial weights and steps by Keras's formula, so that both frameworks
            do the same; "native" is each framework as it comes.
        optimizer: rmsprop, adam, adamw or sgd.
        learning_rate: Step size.
        rho: RMSprop's decay of the running mean of squared gradients, in [0, 1); PyTorch calls it alpha.
        epsilon: What keeps the root of RMSprop, Adam and AdamW from zero.
        momentum: Momentum of RMSprop and SGD, in [0, 1); 0 for none.
        centered: Whether RMSprop takes the square of the mean gradient off the mean square.
        nesterov: Whether SGD's momentum looks one step ahead.
        beta_1: Adam's and AdamW's decay of the mean gradient, in [0, 1).
        beta_2: Adam's and AdamW's decay of the mean squared gradient, in [0, 1).
        weight_decay: Part of the weights that is taken off at a learning rate of 1; decoupled, as in Keras, unless
            align is native.
        schedule: "constant"; "step": times ``decay_rate`` after every ``decay_steps``; "cosine": down to 0 in half a
            cosine; or "one_cycle": from 1/25 of the learning rate up to it and down to 1/250,000; momentum stays.
        warmup: Part of the updates in which the rate rises to the learning rate, in [0, 1): from 0 in a straight line,
            or as one_cycle's rise, which needs it.
        decay_rate: What the step schedule multiplies the rate by, over 0 and at most 1.
        decay_steps: Updates between two of its steps, counted from the first update on.
        anneal_strategy: Whether one_cycle rises and falls in half a cosine ("cos") or in a straight line ("linear").
        label_smoothing: Part of each target that is spread over all digits, in [0, 1); the loss of every split is
            then the cross-entropy to those targets.
        softmax_before_loss: Repeats the published mistake of a softmax before the cross-entropy from logits; the
            loss then cannot fall under 1.461150.
        seed: Seed of the initial weights, at least 0.

    Raises:
        UserError: A value is out of its range.
    """

    architecture: Description = setting("network", "three_conv")
    align: Literal["keras", "native"] = setting("framework", "keras")
    optimizer: Literal["rmsprop", "adam", "adamw", "sgd"] = setting("optimizer", "rmsprop")
    learning_rate: float = setting("optimizer", 1e-3)
    rho: float = setting("optimizer", 0.9)
    epsilon: float = setting("optimizer", 1e-7)
    momentum: float = setting("optimizer", 0.0)
    centered: bool = setting("optimizer", False)
    nesterov: bool = setting("optimizer", False)
    beta_1: float = setting("optimizer", 0.9)
    beta_2: float = setting("optimizer", 0.999)
    weight_decay: float = setting("optimizer", 0.0)
    schedule: Literal["constant", "step", "cosine", "one_cycle"] = setting("schedule", "constant")
    warmup: float = setting("schedule", 0.0)
    decay_rate: float = setting("schedule", 0.5)
    decay_steps: int = setting("schedule", 1000)
    anneal_strategy: Literal["cos", "linear"] = setting("schedule", "cos")
    label_smoothing: float = setting("loss", 0.0)
    softmax_before_loss: bool = setting("loss", False)
    seed: int = setting("seed", SEED)

    def __post_init__(self) -> None:
        object.__setattr__(self, "architecture", plain(read_network(self.architecture)))  # a file may move
        _expect("learning_rate", self.learning_rate > 0, "a number over 0", self.learning_rate)
        for name in ("rho", "momentum", "beta_1", "beta_2", "warmup", "label_smoothing"):
            _expect(name, 0 <= getattr(self, name) < 1, "0 or more and less than 1", getattr(self, name))
        _expect("weight_decay", self.weight_decay >= 0, "0 or more", self.weight_decay)
        _expect("nesterov", self.momentum > 0 or not self.nesterov, "a momentum over 0 with it", self.momentum)
        _expect(
            "warmup", self.warmup > 0 or self.schedule != "one_cycle", "over 0 with one_cycle (usual: 0.3)", self.warmup
        )
        _expect("decay_rate", 0 < self.decay_rate <= 1, "over 0 and at most 1", self.decay_rate)
        _expect("decay_steps", self.decay_steps >= 1, "1 or more updates", self.decay_steps)
        _expect("epsilon", self.epsilon > 0, "a number over 0", self.epsilon)
        _expect("seed", 0 <= self.seed < SEEDS, f"0 to {SEEDS - 1}", self.seed)
        smooth = self.label_smoothing
        _expect("label_smoothing", not (smooth and self.softmax_before_loss), "0 with softmax_before_loss", smooth)
        if self.softmax_before_loss:
            notice = (
                "softmax_before_loss: softmax is applied twice, so the loss cannot fall under "
                f"ln(1 + {CLASSES - 1}/e) = {SOFTMAX_TWICE_FLOOR:.6f}; use it only to reproduce the published number"
            )
            warnings.warn(UserNotice(notice), stacklevel=2)

    @property
    def optimizer_settings(self) -> dict[str, Any]:
        """What the optimizer takes beside rate and weight decay, by our names."""
        return {name: getattr(self, name) for name in OPTIMIZERS[self.optimizer].takes}

    @cached_property
    def network(self) -> Network:
        """The network that the architecture describes."""
        return read_network(self.architecture)


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which images, in which batches.

    Args:
        data_dir: Folder of the known data sets, as torchvision lays it out; a set is made there on the first use.
        dataset: mnist, fashion_mnist or kmnist.
        file: An .npz file in place of those, with x_train, y_train, x_test and y_test: images uint8 [n, height, width]
            or [n, height, width, channels], labels uint8 from 0 on.
        batch_size: Images in a batch, over all processes together; the last batch of an epoch may be smaller.
        val_size: Training images held out for validation, each class in its proportion; the others train.
        shift: Pixels that a training image is moved by at most, each way in each direction; other ones in each epoch.
        rotation: Degrees that it is turned by at most, either way, in [0, 180]; around it all is background.
        train_eval: Whether the trained network is evaluated on the whole training set too, not on the test set alone.
        seed: Seed of the order of the images, of what is held out, and of how they are moved, at least 0.

    Raises:
        UserError: A value is out of its range.
    """

    data_dir: str = setting("surroundings", "data")
    dataset: KnownName = setting("images", "mnist")
    file: str | None = setting("images", None)
    batch_size: int = setting("training", 64)
    val_size: int = setting("images", 0)
    shift: int = setting("images", 0)
    rotation: float = setting("images", 0.0)
    train_eval: bool = setting("surroundings", True)
    seed: int = setting("seed", SEED)

    def __post_init__(self) -> None:
        known = get_args(KnownName)
        _expect("dataset", self.dataset in known, f"one of {', '.join(known)}", self.dataset)
        _expect("dataset", self.file is None or self.dataset == "mnist", "no other one beside a file", self.dataset)
        _expect("batch_size", self.batch_size >= 1, "1 or more images", self.batch_size)
        _expect("val_size", self.val_size >= 0, "0 or more images", self.val_size)
        _expect("shift", self.shift >= 0, "0 or more pixels", self.shift)
        _expect("rotation", 0 <= self.rotation <= 180, "0 to 180 degrees", self.rotation)
        _expect("seed", 0 <= self.seed < SEEDS, f"0 to {SEEDS - 1}", self.seed)


def check_names(kind: type[ModelSettings | DataSettings], typed: Iterable[str]) -> None:
    """Raises ``UserError`` with the nearest name for the first that ``kind`` has no field of."""
    known = [field.name for field in fields(kind)]
    for name in typed:
        if name not in known:
            raise UserError(f"expected a setting of {kind.__name__}, got {name}{nearest(name, known)}")


def _expect(name: str, holds: bool, expected: str, came: object) -> None:
    if not holds:
        raise UserError(f"{name}: expected {expected}, got {came}")
