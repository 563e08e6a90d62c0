"""Which layers are wrong by themselves, and which of the known repairs, tried on the spot, mends each."""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.calls import Call
from keras_parity.ladder.culprit import LIMITS, Culprit, Repair
from keras_parity.ladder.forced import ordered, run_forced
from keras_parity.ladder.match import Match
from keras_parity.ladder.pair import Pair
from keras_parity.ladder.rung import relative
from keras_parity.ladder.settings import Setting, compute, differing, to_paste, with_settings
from keras_parity.ladder.stretches import Stretch, difference_at, mend, stretch_before


def bad_layers(pair: Pair) -> list[Culprit]:
    """The layers and stretches that are wrong by themselves, in the order in which PyTorch runs them.

    Both sides have PyTorch's weights meanwhile.
    """
    keras_side, match, limit = pair.keras[pair.exact], pair.match, LIMITS[pair.exact]
    pair.reset()
    keras_side.load(match.to_keras(pair.torch[pair.exact].state()))
    inputs = keras_side.feed(pair.port.keras_batches[0][0])
    forced = run_forced(keras_side.model, match, inputs)
    found: list[Culprit] = []
    stretches: dict[int, Stretch] = {}
    for place, matched in enumerate(match.pairs):
        ours, theirs = match.torch_calls[matched.torch], match.keras_calls[matched.keras]
        difference = difference_at(pair, place, forced.given.get(place))
        made_of_own = any(parent in forced.passed for parent, _ in theirs.parents)
        if not difference <= limit and not made_of_own:
            stretches[place] = stretch_before(pair, place, difference)
            found.append(stretches[place].culprit)
        if place in forced.errors and found and made_of_own:
            continue  # the shape of its weights follows from that of what it gets
        if place in forced.errors:
            what = f"Keras's layer cannot take PyTorch's input: {forced.errors[place]}"
            found.append(Culprit(ours.name, np.inf, what, *_layer_repairs(ours, theirs, None, limit)))
        elif place in forced.out and ours.out is not None:
            difference = _own(ours.out, forced.out[place], matched.order)
            if not difference <= limit:
                settings, repairs = _layer_repairs(ours, theirs, forced.out[place], limit)
                found.append(Culprit(ours.name, difference, "", settings, repairs))
    mend(pair, stretches, inputs)
    pair.reset()
    return [*_lonely(match, bool(found)), *found]


def _lonely(match: Match, others: bool) -> Iterator[Culprit]:
    """What one side has alone; the shapes of a layer that both have may follow from other culprits."""
    both = (
        {match.torch_calls[p.torch].name for p in match.pairs},
        {match.keras_calls[p.keras].name for p in match.pairs},
    )
    sides = zip(("PyTorch", "Keras"), (match.only_torch, match.only_keras), both, (".", "/"), strict=True)
    for framework, alone, matched, dot in sides:
        names = [name for name in alone if not (others and name.rpartition(dot)[0] in matched and _unlike(match, name))]
        if names:
            some = f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
            yield Culprit(some, np.inf, f"in {framework} alone, or of another shape there")


def _unlike(match: Match, name: str) -> bool:
    """Whether both sides have the array, in other shapes."""
    last = name.replace("/", ".").rpartition(".")[2]
    return last in ("weight", "kernel") and bool(match.only_torch) == bool(match.only_keras)


def _own(mine: NDArray, out: NDArray, order: NDArray | None) -> float:
    mine = mine if mine.ndim == out.ndim else mine[:, -1]
    both = mine.shape == out.shape and order is not None and len(order) == mine.shape[-1]
    return relative(_nearest(mine, ordered(mine, order), out) if both else mine, out)


def _nearest(one: NDArray, other: NDArray, wanted: NDArray) -> NDArray:
    return min(one, other, key=lambda array: float(np.abs(array - wanted).max(initial=0.0)))


def _layer_repairs(
    ours: Call, theirs: Call, wanted: NDArray | None, limit: float
) -> tuple[list[Setting], list[Repair]]:
    """PyTorch's module with Keras's settings, one at a time, then all of them."""
    if ours.given is None:
        return [], []
    last = theirs.between[-1][1] if theirs.between else None
    settings = differing(ours.layer, theirs.layer, ours.given.shape[1:-1], last, ours.pads)
    padding = [name for name, module, _ in ours.between[-1:] if "Pad" in type(module).__name__]
    padded_by = (padding or [""])[0] if ours.pads else None
    repairs: list[Repair] = []
    for tried in (*([setting] for setting in settings), settings):
        if repairs and tried is settings:
            break
        try:
            made = compute(with_settings(ours.layer, tried, ours.pads), ours.given)
        except (RuntimeError, ValueError):  # settings that do not go together
            continue
        if wanted is not None and (left := relative(made, wanted)) <= limit:
            repairs.append(Repair(to_paste(ours.name, ours.layer, tried, padded_by), left))
    return settings, repairs
