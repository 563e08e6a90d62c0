"""Faults of ports, one at a time: each changes one side of a right port before it is built.

Plain training decides whether a fault shows, without the ladder; if it does not, another port is drawn.
"""

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tests.ladder import port_parts as p
from tests.ladder.port_recipes import BASES
from tests.ladder.port_training import Training
from tests.ladder.right_ports import Drawn, Port, Side, build, copied, draw

SHOWS = 1e-4
STEPS = 6
CONVS = ("conv1d", "conv2d", "conv3d", "channels_first")
Edit = Callable[[Side, np.random.Generator], list[str] | None]


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: The fault in words.
        bases: Kinds of networks to draw it in.
        trainings: Kinds of training to draw it in.
        edit: Changes a side and returns the names of the changed parts, or None if it does not apply.
        training: Whether the function stays the same.
        mendable: Whether one line in one framework fixes it.
        sides: The sides it may change.
        place: What a finding may name, besides the parts.
        around: Whether a finding may name the neighbours of a part that has no name in PyTorch.
    """

    name: str
    bases: tuple[str, ...]
    trainings: tuple[str, ...]
    edit: Edit
    training: bool = False
    mendable: bool = True
    sides: tuple[str, ...] = ("torch",)
    place: str = ""
    around: bool = False


FAULTS: dict[str, Fault] = {}
ALL = tuple(BASES)
BOTH = ("torch", "keras")
OPTIMIZER, LOSS, SCHEDULE = "the optimizer", "the loss", "the schedule|the learning rate|the optimizer"
PENALTY, CLIP = "the loss|the optimizer|regulari|penalt|decay", "the optimizer|clip|gradient"


def fault(name: str, bases: tuple[str, ...] = ALL, trainings: tuple[str, ...] = ("sgd",), **words: Any) -> Any:
    """Registers the function that makes a fault."""

    def register(edit: Edit) -> Edit:
        FAULTS[name] = Fault(name, bases, trainings, edit, **words)
        return edit

    return register


def one(
    side: Side, random: np.random.Generator, kind: type[p.Part], fits: Callable[[Any], Any] = lambda q: True
) -> Any:
    """Returns a random part of that kind that passes the test, or None."""
    found = [part for part in side.parts.values() if isinstance(part, kind) and fits(part)]
    return found[random.integers(len(found))] if found else None


def setting(kind: type[p.Part], fits: Callable[[Any], Any], change: Callable[[Any, np.random.Generator], Any]) -> Edit:
    """Changes attributes or arrays of one part that passes the test."""

    def edit(side: Side, random: np.random.Generator) -> list[str] | None:
        part = one(side, random, kind, fits)
        if part is None or change(part, random) is False:
            return None
        owner = getattr(part, "owner", None)
        return [
            part.name,
            *([owner.name] if owner else []),
            *(part.takes[:1] if isinstance(part, p.Activation) else []),
        ]

    return edit


def put(**words: Any) -> Callable[[Any, Any], None]:
    """Sets attributes; a function is called with the part."""

    def change(part: Any, random: Any) -> None:
        for name, value in words.items():
            setattr(part, name, value(part) if callable(value) else value)

    return change


def exchange(one_key: str, other_key: str) -> Callable[[Any, Any], Any]:
    """Swaps the arrays whose names contain one word or the other."""

    def change(part: Any, random: Any) -> Any:
        pairs = [(name, name.replace(one_key, other_key)) for name in part.arrays if one_key in name]
        pairs = [(a, b) for a, b in pairs if part.arrays[a].shape == part.arrays[b].shape]
        for a, b in pairs:
            part.arrays[a], part.arrays[b] = part.arrays[b], part.arrays[a]
        return bool(pairs)

    return change


def _only_transposed(part: Any, random: Any) -> None:
    for name, array in part.arrays.items():
        z, r, h = np.split(array, 3, -1)
        part.arrays[name] = np.concatenate([r, z, h], -1)


def _new_kernel(part: Any, random: np.random.Generator) -> None:
    name = next(iter(part.arrays))
    part.arrays[name] = p.kernel(random, *part.arrays[name].shape, inputs=part.arrays[name].shape[0])


def _swap_directions(part: Any, random: Any) -> bool:
    for name in [n for n in part.arrays if n.endswith("_reverse")]:
        other = name.removesuffix("_reverse")
        part.arrays[name], part.arrays[other] = part.arrays[other], part.arrays[name]
    return True


def _kernel(turn: Callable[[np.ndarray], np.ndarray]) -> Callable[[Any, Any], None]:
    def change(part: Any, random: Any) -> None:
        part.arrays["kernel"] = np.ascontiguousarray(turn(part.arrays["kernel"]))

    return change


def _flip(kernel: np.ndarray) -> np.ndarray:
    return np.flip(kernel, tuple(range(kernel.ndim - 2)))


def _shifted_pads(part: Any, random: Any) -> Any:
    right = part.right_pads()
    wrong = [(end, begin) if begin != end else (begin + 1, end - 1) for begin, end in right]
    if part.stride == 2 and any(begin != end for begin, end in right):  # like padding=1
        wrong = [(max(pair), max(pair)) for pair in right]
    part.pads, part.by_name, part.chomp = wrong, False, False
    return wrong != right


def _as_same(part: Any, random: Any) -> None:
    total = (part.size - 1) * part.dilation
    part.pads, part.chomp = [(total // 2, total - total // 2)], False


def _without_bias(part: Any, random: Any) -> None:
    part.bias = False
    del part.arrays["bias"]


def _shift_crop(part: Any, random: Any) -> None:
    begin, end = part.ends[0]
    part.ends = [(begin - 1, end + 1), *part.ends[1:]]


def _shift_rows(part: Any, random: Any) -> None:
    part.arrays["embeddings"] = np.roll(part.arrays["embeddings"], 1, 0)


def _other_heads(part: Any, random: Any) -> bool:
    others = [h for h in range(1, part.heads * part.size + 1) if part.heads * part.size % h == 0 and h != part.heads]
    part.heads = others[random.integers(len(others))]
    return True


def _inner(q: Any) -> bool:
    return q.function not in ("softmax", "none")


def _other_activation(part: Any, random: np.random.Generator) -> None:
    part.function = str(random.choice([f for f in ("relu", "tanh", "silu", "gelu", "elu") if f != part.function]))


def part_fault(
    name: str, kind: Any, bases: tuple[str, ...], change: Callable[[Any, Any], Any], fits: Any = None, **words: Any
) -> None:
    """Registers a fault of one part that passes the test."""
    fault(name, bases, **words)(setting(kind, fits or (lambda q: True), change))


ACTIVE = ("conv2d", "conv1d", "dense", "crops", "siamese", "transposed", "several outputs", "two inputs", "autoencoder")
STACKED = ("lstm", "gru", "rnn", "bidirectional", "masked recurrent", "masking")
SELF, ATTENTION = ("attention", "masked attention"), ("attention", "cross attention")
OTHER_POOL = put(kind=lambda q: {"max": "avg", "avg": "max"}[q.kind])
KERNELS = p.Conv | p.ConvTranspose
SPATIAL = ("conv1d", "conv2d", "crops", "transposed")
APART = {"mendable": False, "around": True}

part_fault(
    "gates only transposed", p.Recurrent, ("gru", "conv and recurrent", "masked recurrent"), _only_transposed,
    lambda q: q.kind == "gru",
)  # fmt: skip
part_fault("layers of one module exchanged", p.Recurrent, STACKED, exchange("_0", "_1"), lambda q: q.depth == 2)
part_fault("directions exchanged", p.Recurrent, ("bidirectional",), _swap_directions, lambda q: q.both)
part_fault(
    "last step of both directions", p.Recurrent, ("bidirectional",), put(last_output=True),
    lambda q: q.both and not q.sequence, mendable=False,
)  # fmt: skip
part_fault("another activation", p.Activation, ACTIVE, _other_activation, _inner, sides=BOTH)
part_fault("activation missing", p.Activation, ACTIVE, put(function="none"), _inner, sides=BOTH)
part_fault("slope of a leaky ReLU", p.Activation, ACTIVE, put(slope=0.01), lambda q: q.slope, sides=BOTH)
part_fault(
    "gelu by tanh", p.Activation, (*ACTIVE, "attention"), put(function="gelu_tanh"), lambda q: q.function == "gelu",
    sides=BOTH,
)  # fmt: skip
part_fault("kind of pool", p.Pool, (*CONVS, "segmentation", "time distributed"), OTHER_POOL)
part_fault("size of a pool", p.Pool, (*CONVS, "conv and recurrent"), put(size=3))
part_fault("kind of the global pool", p.GlobalPool, CONVS, OTHER_POOL, around=True)
part_fault(
    "padding at the other end", p.Conv, (*CONVS, "autoencoder", "crops"), _shifted_pads,
    lambda q: q.padding == "same" and q.size > 1, mendable=False,
)  # fmt: skip
part_fault(
    "same for causal padding", p.Conv, ("conv1d", "embeddings", "conv and recurrent"), _as_same,
    lambda q: q.padding == "causal", mendable=False,
)  # fmt: skip
part_fault("dilation", p.Conv, CONVS, put(dilation=1), lambda q: q.dilation > 1, sides=BOTH)
part_fault("stride", p.Conv, CONVS, put(stride=lambda q: 3 - q.stride), lambda q: not q.depthwise, sides=BOTH)
part_fault(
    "cut at the other end", p.ConvTranspose, ("transposed", "autoencoder", "segmentation"), put(shift=1),
    lambda q: q.ends()[0] != q.ends()[1], mendable=False,
)  # fmt: skip
part_fault(
    "axes of a kernel", KERNELS, ("conv2d", "conv3d", "crops", "transposed"), _kernel(lambda k: k.swapaxes(0, 1)),
    lambda q: q.rank > 1 and q.size > 1,
)  # fmt: skip
part_fault("kernel flipped", KERNELS, SPATIAL, _kernel(_flip), lambda q: q.size > 1)
part_fault("order of a flatten", p.Dense, (*CONVS, "crops", "two inputs"), put(order=None), lambda q: q.order)
part_fault(
    "causal mask missing", p.Attention, ("attention",), put(causal=False), lambda q: q.causal, sides=BOTH,
    mendable=False,
)  # fmt: skip
part_fault("number of heads", p.Attention, ATTENTION, _other_heads)
part_fault("attention without its scale", p.Attention, ATTENTION, put(scaled=False), lambda q: not q.stock)
part_fault("queries and keys exchanged", p.Attention, SELF, exchange("query", "key"))
part_fault(
    "bias missing", p.Dense | p.Conv, ACTIVE, _without_bias, lambda q: "bias" in q.arrays, mendable=False,
)  # fmt: skip
part_fault("weights of one layer not loaded", p.Dense | p.Conv | p.Recurrent | p.Embedding, ALL, _new_kernel)
part_fault(
    "epsilon of a batch norm", p.Norm, ("conv2d", "conv3d", "dense"), put(eps=0.1), lambda q: q.kind == "batch",
    sides=BOTH,
)  # fmt: skip
part_fault(
    "epsilon of a layer norm", p.Norm, (*SELF, "dense"), put(eps=lambda q: 1e-5 if q.eps > 1e-3 else 1e-2),
    lambda q: q.kind == "layer", sides=BOTH,
)  # fmt: skip
part_fault(
    "groups of a group norm", p.Norm, ("conv1d", "conv2d", "channels_first"), put(groups=1),
    lambda q: q.kind == "group" and q.groups > 1,
)  # fmt: skip
part_fault("time and batch mixed up", p.Unfold, ("time distributed",), put(mixed=True), **APART)
part_fault(
    "scale of the input", p.Scale, ("dense",), put(factor=1 / 255, offset=0.0), sides=BOTH, place="input", **APART
)
part_fault("crop of another pixel", p.Crop, ("crops",), _shift_crop, sides=BOTH, **APART)
part_fault("embedding off by a row", p.Embedding, ("embeddings", "tied words", "masked mean"), _shift_rows)
part_fault("shortcut missing", p.Join, ATTENTION, put(how="second"), lambda q: q.how == "add", **APART)


@fault(
    "mask missing",
    ("masked recurrent", "masking", "masked attention", "masked mean"),
    sides=BOTH,
    place="mask",
    **APART,
)
def _mask_missing(side: Side, random: np.random.Generator) -> list[str] | None:
    kinds = p.Recurrent | p.Attention | p.MeanTime
    part = one(side, random, kinds, lambda q: len(q.takes) > (2 if isinstance(q, p.Attention) else 1))
    if part is None:
        return None
    if isinstance(part, p.Recurrent):
        part.takes = part.takes[:1]
    elif isinstance(part, p.Attention):
        part.padding_mask = False
    else:
        part.masked = False
    sources = []
    for other in side.parts.values() if side.keras_side else []:  # the source of Keras's implied mask
        if isinstance(other, p.Embedding):
            other.mask_zero = False
            sources.append(other.name)
        elif isinstance(other, p.Masking):
            other.active = False
            sources.append(other.name)
    return [part.name, *sources]


@fault("softmax missing or one too many", ACTIVE, sides=BOTH, place="output|softmax|logits")
def _softmax(side: Side, random: np.random.Generator) -> list[str] | None:
    last = list(side.parts.values())[-1]
    if isinstance(last, p.Activation) and last.function == "softmax":
        last.function = "none"
        return [last.name, *last.takes]
    if not isinstance(last, p.Dense) or not side.keras_side or set(side.training.losses.values()) != {"sparse"}:
        return None
    last.fused = p.Activation(name="extra", takes=(last.name,), function="softmax", owner=last)
    return [last.name]


@fault("heads exchanged", ("several outputs",), sides=BOTH, place="outputs in the order")
def _heads(side: Side, random: np.random.Generator) -> list[str] | None:
    heads = [side.parts[name] for name in side.training.losses]
    pairs = [(a, b) for k, a in enumerate(heads) for b in heads[:k]]
    pairs = [(a, b) for a, b in pairs if a.arrays["kernel"].shape == b.arrays["kernel"].shape]
    if not pairs:
        return None
    a, b = pairs[0]
    a.arrays, b.arrays = b.arrays, a.arrays
    return [a.name, b.name]


def setting_fault(
    name: str, trainings: tuple[str, ...], change: Any, place: str, bases: tuple[str, ...] = ALL, **words: Any
) -> None:
    """Registers a fault of the training's settings; ``change`` returns the new ones, or None."""

    def edit(side: Side, random: np.random.Generator) -> list[str] | None:
        new = change(side.training)
        if not new:
            return None
        side.training = replace(side.training, **new)
        return [part.name for part in side.parts.values() if part.penalties or part.constraint]

    fault(name, bases, trainings, training=True, place=place, **words)(edit)


SIMPLE = (
    "dense",
    "conv2d",
    "gru",
    "attention",
    "transposed",
    "siamese",
    "several outputs",
    "tied autoencoder",
    "crops",
)
CLASSIFIERS = ("dense", "conv2d", "gru", "crops")
CLIPPED = ("clipped each", "clipped all", "clipped values")
SCHEDULES = ("exponential", "cosine", "piecewise", "inverse time")
HEAVY = ("momentum", "nesterov")


def _other_clip(t: Training) -> Any:
    return t.clip and t.clip[0] != "value" and {"clip": ({"each": "all", "all": "each"}[t.clip[0]], t.clip[1])}


def _other_weights(t: Training) -> Any:
    weights = t.loss_weights or {}
    return len(set(weights.values())) > 1 and {
        "loss_weights": dict(zip(weights, [*weights.values()][::-1], strict=True))
    }


def _other_loss(t: Training) -> Any:
    return "mse" in t.losses.values() and {"losses": {n: "huber" if k == "mse" else k for n, k in t.losses.items()}}


def _schedule(how: str) -> Callable[[Training], Any]:
    return lambda t: t.schedule and {"schedule": (t.schedule[0], t.schedule[1] | {"torch": how})}


def _other_nesterov(t: Training) -> Any:
    return {"optimizer": {"sgd": "nesterov", "nesterov": "sgd"}[t.optimizer]}


setting_fault("L2 at half its rate", ("decay for l2", "l2 in the loss"), lambda t: {"factor": 0.5}, PENALTY)
setting_fault(
    "decay of all parameters", ("decay for l2", "excluded decay"), lambda t: {"decay_all": True}, PENALTY, SIMPLE
)
setting_fault(
    "constraint missing", ("max norm", "unit norm", "non-negative"), lambda t: {"project": False},
    "constraint|the optimizer|max.?norm|project", mendable=False,
)  # fmt: skip
setting_fault("clipped together, not each", CLIPPED[:2], _other_clip, CLIP, SIMPLE, mendable=False)
setting_fault("clipping missing", CLIPPED, lambda t: t.clip and {"clip": None}, CLIP, mendable=False)
setting_fault(
    "learning rate", ("sgd", "adam", "adagrad", "momentum"), lambda t: {"rate": t.rate * 1.2},
    f"{OPTIMIZER}|learning rate", sides=BOTH,
)  # fmt: skip
setting_fault("momentum", HEAVY, lambda t: {"momentum": 0.6}, f"{OPTIMIZER}|momentum", SIMPLE, sides=BOTH)
setting_fault("Nesterov's momentum or not", HEAVY, _other_nesterov, f"{OPTIMIZER}|nesterov", SIMPLE, sides=BOTH)
setting_fault("epsilon of Adam", ("adam",), lambda t: {"eps": t.eps * 30}, f"{OPTIMIZER}|epsilon", SIMPLE, sides=BOTH)
setting_fault(
    "accumulator of Adagrad", ("adagrad",), lambda t: {"accumulator": 0.01}, f"{OPTIMIZER}|accumulator", SIMPLE,
    sides=BOTH,
)  # fmt: skip
setting_fault("schedule stepped by epoch", SCHEDULES, _schedule("epoch"), SCHEDULE, SIMPLE)
setting_fault("schedule that compounds", SCHEDULES, _schedule("compound"), SCHEDULE, SIMPLE)
setting_fault("schedule missing", SCHEDULES, lambda t: t.schedule and {"schedule": None}, SCHEDULE, SIMPLE)
setting_fault(
    "class weights normalised", ("class weights",), lambda t: t.class_weight and {"normalised": True},
    f"{LOSS}|class.weight", CLASSIFIERS,
)  # fmt: skip
setting_fault("losses summed", ("sgd", "momentum"), lambda t: {"summed": True}, LOSS, SIMPLE)
setting_fault(
    "label smoothing missing", ("label smoothing",), lambda t: t.smoothing and {"smoothing": 0.0},
    f"{LOSS}|smoothing", CLASSIFIERS,
)  # fmt: skip
setting_fault(
    "loss weights exchanged", ("sgd", "momentum"), _other_weights, f"{LOSS}|loss.weight", ("several outputs",)
)
setting_fault("another loss", ("sgd",), _other_loss, LOSS, (*SIMPLE, "autoencoder"), sides=BOTH)


def _cleared(*roles: str) -> Edit:
    def edit(side: Side, random: np.random.Generator) -> list[str] | None:
        parts = [part for part in side.parts.values() if any(role in part.penalties for role in roles)]
        for part in parts:
            part.penalties = {}
        return [part.name for part in parts] or None

    return edit


def _copied_weights(side: Side, random: np.random.Generator) -> list[str] | None:
    part = one(side, random, p.Again, lambda q: q.of.arrays)
    if part is None:
        return None
    side.parts[part.name] = replace(part.of, name=part.name, takes=part.takes, fused=None, reused=False)
    return [part.name, part.of.name]


def _tie_broken(side: Side, random: np.random.Generator) -> list[str] | None:
    part = one(side, random, p.Tied)
    part.copied = True
    return [part.name, part.of.name]


PENALISED = {"training": True, "sides": BOTH, "place": PENALTY}
KEPT = {"training": True, "mendable": False}
LEARNS = ("sgd", "momentum", "adam")
NORMED = ("conv1d", "conv2d", "conv3d", "dense")
fault("regularizer missing", ALL, ("decay for l2", "l2 in the loss", "l1 in the loss"), **PENALISED)(
    _cleared("kernel", "bias")
)
fault("activity penalty missing", ALL, ("activity penalty",), **PENALISED)(_cleared("output"))
part_fault("own loss missing", p.OwnLoss, SIMPLE, put(rate=0.0), trainings=("own loss",), **PENALISED)
part_fault(
    "one layer frozen", p.Dense | p.Conv | p.Recurrent | p.Embedding, ALL, put(frozen=True),
    lambda q: not (q.reused or q.frozen or q.timed), trainings=LEARNS, training=True, sides=BOTH,
    place="frozen|requires_grad|trainable",
)  # fmt: skip
fault("tie broken", ("tied words", "tied autoencoder"), LEARNS[:2], **KEPT)(_tie_broken)
fault("shared weights copied", ("siamese", "shared in depth"), LEARNS[:2], **KEPT)(_copied_weights)
part_fault(
    "momentum of a batch norm", p.Norm, NORMED, put(momentum=lambda q: round(1 - q.momentum, 2)),
    lambda q: q.kind == "batch", trainings=("sgd", "lightning"), training=True, sides=BOTH,
)  # fmt: skip
part_fault(
    "second bias learns", p.Recurrent, ("lstm", "rnn", "bidirectional"), put(second=True),
    lambda q: q.kind != "gru" and q.bias, trainings=LEARNS, training=True,
)  # fmt: skip


@dataclass
class Faulty:
    """A port with a fault.

    Attributes:
        port: The two models.
        place: A pattern that a finding must match.
        side: The framework that was changed.
        apart: Relative difference in plain training.
    """

    port: Port
    place: str
    side: str
    apart: float


def _neighbours(drawn: Drawn, names: list[str]) -> list[str]:
    taken = [name for n in names if n in drawn.parts for name in drawn.parts[n].takes]
    taking = [part.name for part in drawn.parts.values() if set(part.takes) & set(names)]
    return [*names, *taken, *taking]


def _place(kind: Fault, drawn: Drawn, port: Port, names: list[str]) -> str:
    bare = not any(drawn.parts[n].modules() for n in names if n in drawn.parts)
    names = _neighbours(drawn, names) if kind.around or bare else names
    words = sorted({word for name in names for word in port.names.get(name, [name])})
    return "|".join([*(rf"\b{re.escape(word)}\b" for word in words), *([kind.place] if kind.place else [])])


def faulty_port(kind: Fault, seed: int, attempts: int = 80) -> Faulty:
    """Draws ports from a seed; returns the first in which the fault applies and shows in plain training."""
    for attempt in range(attempts):
        random = np.random.default_rng([seed, attempt, *kind.name.encode()])
        base, training = random.choice(list(kind.bases)), random.choice(list(kind.trainings))
        drawn = draw(int(random.integers(1 << 30)), str(base), str(training))
        if not all(drawn.expected) or drawn.trained not in kind.trainings:
            continue
        where, side = str(random.choice(list(kind.sides))), copied(drawn)
        side.keras_side = where == "keras"
        names = kind.edit(side, random)
        if names is None:
            continue
        sides = {f"{where}_changed": side}
        try:
            port = build(drawn, **copy.deepcopy(sides))
            apart = port.apart()
            shows = apart > SHOWS
            if kind.training and not shows:
                apart = port.train_plainly(STEPS)
                shows = apart > SHOWS and apart < 10
            elif kind.training:
                shows = False
            if not shows or not np.isfinite(apart):
                continue
            port = build(drawn, **sides)
        except (RuntimeError, ValueError):  # incompatible shapes
            continue
        return Faulty(port, _place(kind, drawn, port, names), where, apart)
    raise LookupError(f"no port of {attempts} shows {kind.name!r} from seed {seed}")
