"""A framework-independent trained network: its weights and its optimizer's state in the neutral layout."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.layer_spec import Shape
from cnn_mnist.architecture.network import Network
from cnn_mnist.errors import UserError, few
from cnn_mnist.settings import ModelSettings

Arrays = dict[str, NDArray]
Logits = Callable[[NDArray[np.floating]], NDArray]
"""Computes the logits [n, classes] of images [n, height, width, channels] with a loaded file, in float64."""


@dataclass(frozen=True)
class Portable:
    """A framework-independent network.

    Attributes:
        weights: Weights and statistics by neutral name, such as ``"conv1/kernel"``, in Keras's layout, float32 or
            float64.
        settings: The network and its training settings, as far as the file describes them.
        slots: The optimizer's arrays by Keras's name of the slot, each a dict like ``weights``; None without an
            optimizer.
        iterations: Optimizer updates so far.
        untold: Why ``settings`` does not describe the optimizer, in one line; empty if it does.
        notes: How the weights were found in the file, and what was left out; an empty line says nothing.
        doubt: The weights that may be exchanged, in one line; empty if there are none.
    """

    weights: Arrays
    settings: ModelSettings
    slots: dict[str, Arrays] | None = None
    iterations: int = 0
    untold: str = ""
    notes: tuple[str, ...] = ()
    doubt: str = ""

    @property
    def network(self) -> Network:
        """The description of the network."""
        return self.settings.network

    @property
    def dtype(self) -> str:
        """The dtype of the weights."""
        return str(next(iter(self.weights.values())).dtype)


Read = Callable[[Path, Network | None], tuple[Portable, Logits]]
"""Reads a file.

Args:
    path: The file.
    network: The network that the user names; needed if the file does not describe it.

Returns:
    The network, and what it computes.

Raises:
    UserError: The file cannot be loaded safely, the network is not known, or the file holds another one.
"""


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
) -> tuple[dict[str, NDArray], str, str]:
    """Matches the arrays of a file to a network's weights: by name, else by the shapes of each module's arrays.

    Args:
        path: The file, for the message.
        found: The arrays in the file by name, in the file's order, which decides between equal modules.
        wanted: The shape of each weight by name, in the order of the layers.

    Returns:
        The arrays by the names of the weights; the weights that were not matched by name, in one line; and two modules
        that may be exchanged, in one line.

    Raises:
        UserError: The number or a shape of the arrays does not fit.
    """
    sequential = all(name.rpartition(".")[0].replace(".", "").isdecimal() for name in found)
    if sequential:  # the numbers of an nn.Sequential are the order of its calls
        found = dict(sorted(found.items(), key=lambda item: [*map(int, item[0].split(".")[:-1])]))
    shapes, ours = {name: array.shape for name, array in found.items()}, {n: tuple(s) for n, s in wanted.items()}
    if len(found) != len(wanted):
        first = next((name for name in [*wanted, *found] if name not in found or name not in wanted), "")
        raise UserError(f"expected {len(wanted)} arrays in {path}, got {len(found)} (see {first}); name its network")
    if shapes == ours:
        return {name: found[name] for name in wanted}, "", ""
    theirs, asked = _groups(shapes, whole=True), _groups(ours, whole=True)
    if _sizes(theirs) != _sizes(asked):
        theirs, asked = _groups(shapes, whole=False), _groups(ours, whole=False)
    odd = {kind for kind in (*theirs, *asked) if len(theirs.get(kind, ())) != len(asked.get(kind, ()))}
    if odd:
        name, in_file = (
            next(n for kind, some in groups.items() if kind in odd for n in some) for groups in (asked, theirs)
        )
        came = f"got {in_file} {shapes[in_file]}"
        raise UserError(f"expected {name} {ours[name]}, {came} in {path}, which holds another network")
    pairs = {name: in_file for kind in asked for name, in_file in zip(asked[kind], theirs[kind], strict=True)}
    equal = [] if sequential else [names for names in theirs.values() if len(names) > 1]
    doubt = f"{equal[0][0]} and {equal[0][1]} have the same shape and may be exchanged" if equal else ""
    return {name: found[pairs[name]] for name in wanted}, renamed_weights(pairs), doubt


def _groups(shapes: Mapping[str, Shape], whole: bool) -> dict[object, list[str]]:
    """Names by shape; if ``whole``, by last part and by the shapes of the whole module too."""
    modules: dict[str, list[tuple[str, Shape]]] = defaultdict(list)
    for name, shape in shapes.items():
        modules[name.rpartition(".")[0]].append((name.rpartition(".")[2], shape))
    groups: dict[object, list[str]] = defaultdict(list)
    for name, shape in shapes.items():
        module, _, last = name.rpartition(".")
        groups[(shape, last, *sorted(modules[module])) if whole else shape].append(name)
    return groups


def _sizes(groups: Mapping[object, list[str]]) -> dict[object, int]:
    return {kind: len(names) for kind, names in groups.items()}


def renamed_weights(pairs: Mapping[str, str]) -> str:
    """Says which weights have another name in the file: the first one, and the number of the others; empty if none.

    Args:
        pairs: The name in the file of each weight, by the weight's name.
    """
    renamed = [f"{in_file} as {name}" for name, in_file in pairs.items() if not in_file.endswith(name)]
    return f"weights matched by order and shape ({few(renamed, 1)})" if renamed else ""
