"""A trained network between two frameworks: its weights and its optimizer's state in the neutral layout."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.network import Network
from cnn_mnist.errors import UserError
from cnn_mnist.settings import ModelSettings

Arrays = dict[str, NDArray]
Logits = Callable[[NDArray[np.floating]], NDArray]
"""What a loaded file computes: logits [n, classes] of images [n, height, width, channels], in float64."""


@dataclass(frozen=True)
class Portable:
    """A network in no framework.

    Attributes:
        weights: By neutral name, ``"conv1/kernel"``, statistics too, in Keras's layout, float32 or float64.
        settings: What it is and was trained with, as far as the file tells.
        slots: The optimizer's arrays by Keras's name of the slot, each a dict like ``weights``; None where the file
            has no optimizer.
        iterations: Optimizer updates done.
        untold: What ``settings`` cannot say of the optimizer, in a line; empty where there is nothing.
        matched: What was matched by order and shape, in a line; empty where all names were known.
    """

    weights: Arrays
    settings: ModelSettings
    slots: dict[str, Arrays] | None = None
    iterations: int = 0
    untold: str = ""
    matched: str = ""

    @property
    def network(self) -> Network:
        """What the weights are of."""
        return self.settings.network

    @property
    def dtype(self) -> str:
        """The dtype of the weights."""
        return str(next(iter(self.weights.values())).dtype)


def choose_network(path: Path, told: Network | None, asked: Network | None) -> Network:
    """The network of a file.

    Args:
        path: The file, for the message.
        told: The network that the file itself describes.
        asked: The network that the user gives.

    Raises:
        UserError: Neither says, or they contradict each other.
    """
    if told is not None and asked is not None and told != asked:
        raise UserError(f"--model.architecture: {path} holds another network; leave the flag out")
    network = told or asked
    if network is None:
        raise UserError(f"--model.architecture: expected it with {path}, which holds weights alone; name the network")
    return network


def match_arrays(
    path: Path, came: Mapping[str, NDArray], wanted: Mapping[str, Sequence[int]]
) -> tuple[dict[str, NDArray], str]:
    """The arrays of a file under the names that are wanted: by name, else by order and shape.

    Args:
        path: The file, for the message.
        came: Its arrays by their names, in its order.
        wanted: Shape of each array by name, in the order of the layers.

    Returns:
        The arrays by the wanted names, and what was matched otherwise than by name, in a line.

    Raises:
        UserError: The first array that does not fit, by name.
    """
    if came.keys() == wanted.keys():
        pairs = [(name, name) for name in wanted]
    elif len(came) == len(wanted):
        pairs = list(zip(wanted, came, strict=True))
    else:
        odd = next((name for name in [*wanted, *came] if name not in came or name not in wanted), "")
        raise UserError(f"expected {len(wanted)} arrays in {path}, got {len(came)} (see {odd}); name its network")
    for ours, theirs in pairs:
        if came[theirs].shape != tuple(wanted[ours]):
            shapes = f"{tuple(wanted[ours])}, got {theirs} {came[theirs].shape}"
            raise UserError(f"expected {ours} {shapes} in {path}, whose weights are of another network")
    return {ours: came[theirs] for ours, theirs in pairs}, told_of_names(dict(pairs))


def told_of_names(pairs: Mapping[str, str]) -> str:
    """The first array that a file calls otherwise, and how many more there are; empty where there is none."""
    renamed = [f"{theirs} as {ours}" for ours, theirs in pairs.items() if not theirs.endswith(ours)]
    return f"{renamed[0]}{f' and {len(renamed) - 1} more' if renamed[1:] else ''}" if renamed else ""
