"""A trained network in no framework: its weights and its optimizer's state in the neutral layout."""

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
"""Computes the logits [n, classes] of images [n, height, width, channels] with a loaded file, in float64."""


@dataclass(frozen=True)
class Portable:
    """A network in no framework.

    Attributes:
        weights: Weights and statistics by neutral name, such as ``"conv1/kernel"``, in Keras's layout, float32 or
            float64.
        settings: The network and its training settings, as far as the file describes them.
        slots: The optimizer's arrays by Keras's name of the slot, each a dict like ``weights``; None without an
            optimizer.
        iterations: Optimizer updates so far.
        untold: Why ``settings`` does not describe the optimizer, in one line; empty if it does.
        matched: The weights that were matched by order and shape, in one line; empty if all names were known.
    """

    weights: Arrays
    settings: ModelSettings
    slots: dict[str, Arrays] | None = None
    iterations: int = 0
    untold: str = ""
    matched: str = ""

    @property
    def network(self) -> Network:
        """The description of the network."""
        return self.settings.network

    @property
    def dtype(self) -> str:
        """The dtype of the weights."""
        return str(next(iter(self.weights.values())).dtype)


def choose_network(path: Path, described: Network | None, named: Network | None) -> Network:
    """Chooses the network of a file.

    Args:
        path: The file, for the message.
        described: The network that the file describes.
        named: The network that the user names.

    Raises:
        UserError: Both are missing, or they differ.
    """
    if described is not None and named is not None and described != named:
        raise UserError(f"--model.architecture: {path} holds another network; leave the flag out")
    network = described or named
    if network is None:
        raise UserError(f"--model.architecture: expected with {path}, which holds only weights; name the network")
    return network


def match_arrays(
    path: Path, found: Mapping[str, NDArray], wanted: Mapping[str, Sequence[int]]
) -> tuple[dict[str, NDArray], str]:
    """Matches the arrays of a file to a network's weights: by name, else by order and shape.

    Args:
        path: The file, for the message.
        found: The arrays in the file by name, in the file's order.
        wanted: The shape of each weight by name, in the order of the layers.

    Returns:
        The arrays by the names of the weights; and the weights that were not matched by name, in one line.

    Raises:
        UserError: The number or a shape of the arrays does not fit.
    """
    if found.keys() == wanted.keys():
        pairs = [(name, name) for name in wanted]
    elif len(found) == len(wanted):
        pairs = list(zip(wanted, found, strict=True))
    else:
        first = next((name for name in [*wanted, *found] if name not in found or name not in wanted), "")
        raise UserError(f"expected {len(wanted)} arrays in {path}, got {len(found)} (see {first}); name its network")
    for name, in_file in pairs:
        if found[in_file].shape != tuple(wanted[name]):
            shapes = f"{tuple(wanted[name])}, got {in_file} {found[in_file].shape}"
            raise UserError(f"expected {name} {shapes} in {path}, which holds another network")
    return {name: found[in_file] for name, in_file in pairs}, renamed_weights(dict(pairs))


def renamed_weights(pairs: Mapping[str, str]) -> str:
    """Names the first weight with another name in the file, and the number of the others; empty if there is none.

    Args:
        pairs: The name in the file of each weight, by the weight's name.
    """
    renamed = [f"{in_file} as {name}" for name, in_file in pairs.items() if not in_file.endswith(name)]
    return f"{renamed[0]}{f' and {len(renamed) - 1} more' if renamed[1:] else ''}" if renamed else ""
