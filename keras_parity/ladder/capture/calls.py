"""The recorded calls of layers in one run of a model: inputs, outputs, and which call feeds which."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import keras
from numpy.typing import NDArray

JOINS = {  # PyTorch's and TensorFlow's names of operations that tell two paths apart
    **dict.fromkeys(("AddBackward0", "AddV2", "AddN"), "add"),
    **dict.fromkeys(("CatBackward0", "ConcatV2"), "concatenate"),
    **dict.fromkeys(("MaxPool2DWithIndicesBackward0", "MaxPool"), "max"),
    **dict.fromkeys(("AvgPool2DBackward0", "AvgPool"), "average"),
}


OUTPUT = "output"

Stateless: TypeAlias = tuple[str, Any, tuple[int, ...]]
"""A call of a layer without state: its name, the layer, the shape of its input."""


@dataclass
class Call:
    """One call of a layer that has state.

    Attributes:
        name: Name of the module or layer.
        layer: The module or layer; None for the model's output, which is the last call.
        kind: See ``kind_of``.
        arrays: The layer's state: shape by role in PyTorch, a list of ``Array`` in Keras.
        input: The input in Keras's axis order; None if it is not visible.
        output: The output before the layer's own activation; None if it is not visible.
        parents: The calls that feed this one, by index, each with the joins in between.
        between: Stateless layers since the previous call; in Keras, on the way from the parents.
        gradient: Gradient of the loss with respect to ``output``.
        own_roles: PyTorch's tensor names by the roles in ``arrays``, for further layers and directions of an RNN.
        pads: Zeros that PyTorch adds before and after each spatial axis of ``input``.
    """

    name: str
    layer: Any
    kind: str
    arrays: Any = ()
    input: NDArray | None = None
    output: NDArray | None = None
    parents: tuple[tuple[int, tuple[str, ...]], ...] = ()
    between: tuple[Stateless, ...] = ()
    gradient: NDArray | None = field(default=None, repr=False)
    pads: tuple[tuple[int, int], ...] = ()
    own_roles: Mapping[str, str] = field(default_factory=dict)

    def torch_name(self, role: str) -> str:
        """Returns the full name of one of PyTorch's tensors."""
        return f"{self.name}.{self.own_roles.get(role, role)}".lstrip(".")


Loss = Callable[[Any], Any]
"""Mean loss of a model's output."""


def first_tensor(value: Any) -> Any:
    """Returns the first tensor of a nest."""
    return keras.tree.flatten(value)[0]


def with_containers(containers: list[Call], calls: list[Call]) -> list[Call]:
    """Puts the entries of layers that own state and hold other layers first; their own calls are not observed."""
    for call in calls:
        call.parents = tuple((place + len(containers), joins) for place, joins in call.parents)
    return [*containers, *calls]


def find_parents(
    starts: Iterable[Any], known: dict[Any, int], step: Any, name: Any, seen: dict[Any, frozenset[str]] | None = None
) -> Any:
    """Finds the calls that a computation graph leads back to.

    Args:
        starts: The nodes to start from.
        known: Index of the call by the node of its output.
        step: Returns the nodes before a node.
        name: Returns the operation of a node.
        seen: Filled in with the nodes on the way.

    Returns:
        The index of each call, with the joins on the way to it.
    """
    found: dict[int, set[str]] = {}
    seen = {} if seen is None else seen
    waiting = [(node, frozenset[str]()) for node in starts]
    while waiting:
        node, joins = waiting.pop()
        if node in known:
            found.setdefault(known[node], set()).update(joins)
            continue
        joins |= {JOINS[name(node)]} if name(node) in JOINS else frozenset()
        if node in seen and joins <= seen[node]:
            continue
        seen[node] = seen.get(node, frozenset()) | joins
        waiting.extend((before, joins) for before in step(node))
    return tuple((place, tuple(sorted(joins))) for place, joins in sorted(found.items()))
