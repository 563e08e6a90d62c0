"""The settings both trainers share, with the published experiment as their defaults."""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Literal

from cnn_mnist.architecture.trace import CLASSES, layers_of
from cnn_mnist.errors import UserError, UserNotice, nearest

SOFTMAX_TWICE_FLOOR = math.log(1 + (CLASSES - 1) / math.e)
"""Least possible cross-entropy, in nats, when the "logits" are probabilities: a 1 against nine 0s."""

MAX_EPOCHS = 10
SEED = 0
SEEDS = 2**32
"""Seeds lie under this; numpy and Lightning take no greater one."""


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """What is trained, and by which rule.

    Args:
        architecture: Name of the network: three_conv or conv5x5.
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
        schedule: "constant", or "cosine": up to the learning rate in the warm-up, then down to 0 in half a cosine.
        warmup: Part of the updates in which the cosine schedule rises, in [0, 1).
        label_smoothing: Part of each target that is spread over all digits, in [0, 1); the loss of every split is
            then the cross-entropy to those targets.
        softmax_before_loss: Repeats the published mistake of a softmax before the cross-entropy from logits; the
            loss then cannot fall under 1.461150.
        seed: Seed of the initial weights, at least 0.

    Raises:
        UserError: A value is out of its range.
    """

    architecture: str = "three_conv"
    align: Literal["keras", "native"] = "keras"
    optimizer: Literal["rmsprop", "adam", "adamw", "sgd"] = "rmsprop"
    learning_rate: float = 1e-3
    rho: float = 0.9
    epsilon: float = 1e-7
    momentum: float = 0.0
    centered: bool = False
    nesterov: bool = False
    beta_1: float = 0.9
    beta_2: float = 0.999
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: float = 0.0
    label_smoothing: float = 0.0
    softmax_before_loss: bool = False
    seed: int = SEED

    def __post_init__(self) -> None:
        layers_of(self.architecture)
        _expect("learning_rate", self.learning_rate > 0, "a number over 0", self.learning_rate)
        for name in ("rho", "momentum", "beta_1", "beta_2", "warmup", "label_smoothing"):
            _expect(name, 0 <= getattr(self, name) < 1, "0 or more and less than 1", getattr(self, name))
        _expect("weight_decay", self.weight_decay >= 0, "0 or more", self.weight_decay)
        _expect("nesterov", self.momentum > 0 or not self.nesterov, "a momentum over 0 with it", self.momentum)
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


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """Which images, in which batches.

    Args:
        data_dir: Folder of the MNIST files; they are made there on the first use.
        batch_size: Images in a batch, over all processes together; the last batch of an epoch may be smaller.
        val_size: Training images held out for validation, each digit in its proportion; the others train.
        seed: Seed of the order of the images and of what is held out, at least 0.

    Raises:
        UserError: A value is out of its range.
    """

    data_dir: str = "data"
    batch_size: int = 64
    val_size: int = 0
    seed: int = SEED

    def __post_init__(self) -> None:
        _expect("batch_size", self.batch_size >= 1, "1 or more images", self.batch_size)
        _expect("val_size", self.val_size >= 0, "0 or more images", self.val_size)
        _expect("seed", 0 <= self.seed < SEEDS, f"0 to {SEEDS - 1}", self.seed)


def check_names(kind: type[ModelSettings | DataSettings], typed: Iterable[str]) -> None:
    """Raises ``UserError`` with the nearest name for the first that ``kind`` has no field of."""
    known = [field.name for field in fields(kind)]
    for name in typed:
        if name not in known:
            raise UserError(f"expected a setting of {kind.__name__}, got {name}{nearest(name, known)}")


def cosine_factor(step: int, steps: int, warmup: float) -> float:
    """The part of the peak learning rate that one update takes: linear warm-up from 0, then half a cosine to 0.

    Source: Loshchilov and Hutter 2017, eq. 5, without restarts; Keras's ``CosineDecay`` computes the same.

    Args:
        step: The update, counted from 0.
        steps: Updates in the whole training.
        warmup: Part of them in which the rate rises, in [0, 1).

    Returns:
        A number in [0, 1].
    """
    rising = warmup_steps(steps, warmup)
    if step < rising:
        return step / rising
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / (steps - rising))))


def warmup_steps(steps: int, warmup: float) -> int:
    """Updates in which the rate rises; at least one update is left for the fall."""
    return min(int(warmup * steps), steps - 1)


def _expect(name: str, holds: bool, expected: str, came: object) -> None:
    if not holds:
        raise UserError(f"{name}: expected {expected}, got {came}")
