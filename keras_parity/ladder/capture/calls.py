"""The calls of the layers in one run of a model: what went in, what came out, and which fed which."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
from numpy.typing import NDArray

JOINS = {  # PyTorch's and TensorFlow's names of what makes a path another one
    **dict.fromkeys(("AddBackward0", "AddV2", "AddN"), "add"),
    **dict.fromkeys(("CatBackward0", "ConcatV2"), "concatenate"),
    **dict.fromkeys(("MaxPool2DWithIndicesBackward0", "MaxPool"), "max"),
    **dict.fromkeys(("AvgPool2DBackward0", "AvgPool"), "average"),
}


OUTPUT = "output"


@dataclass
class Call:
    """One call of a layer that owns state.

    Attributes:
        name: Of the module, or of the layer.
        layer: The module or the layer; None for the model's output, which stands last.
        kind: See ``kind_of``.
        arrays: What it owns: shape by role in PyTorch, arrays in Keras.
        given: What went in, its axes as Keras has them; None where that is not seen.
        out: What came out, before the activation inside the layer.
        parents: The calls that fed it, by place, and through what.
        between: The layers without state that ran since the last call with state: (name, layer, its input's shape).
        gradient: Of the loss, with respect to ``out``.
        own_roles: PyTorch's names of ``arrays``, where those of a recurrent layer's first direction stand for them.
        pads: Zeros that PyTorch adds before and after each axis of space between ``given`` and the layer.
    """

    name: str
    layer: Any
    kind: str
    arrays: Any = ()
    given: NDArray | None = None
    out: NDArray | None = None
    parents: tuple[tuple[int, tuple[str, ...]], ...] = ()
    between: tuple[tuple[str, Any, tuple[int, ...]], ...] = ()
    gradient: NDArray | None = field(default=None, repr=False)
    pads: tuple[tuple[int, int], ...] = ()
    own_roles: Mapping[str, str] = field(default_factory=dict)

    def torch_name(self, role: str) -> str:
        """The full name of one of PyTorch's tensors."""
        return f"{self.name}.{self.own_roles.get(role, role)}".lstrip(".")


Loss = Callable[[Any], Any]
"""Mean loss of a model's output."""


def first_tensor(value: Any) -> Any:
    """The tensor itself, or the first of a nest of tensors."""
    return keras.tree.flatten(value)[0]


def shifted(parents: Any, by: int) -> Any:
    """The parents, where ``by`` calls are put before all others."""
    return tuple((place + by, joins) for place, joins in parents)


def moved(calls: Iterable[Call], by: int) -> Iterator[Call]:
    """The calls, where ``by`` calls are put before all others."""
    for call in calls:
        call.parents = shifted(call.parents, by)
        yield call


def find_parents(starts: Iterable[Any], known: dict[Any, int], step: Any, name: Any) -> Any:
    """The known nodes that the starts lead back to, each with the joins on the way there."""
    found: dict[int, set[str]] = {}
    seen: dict[Any, frozenset[str]] = {}
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
