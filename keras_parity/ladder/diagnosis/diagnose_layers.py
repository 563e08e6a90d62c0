"""Which layers are wrong by themselves, and which of the known fixes, tried on the spot, mends each."""

from collections.abc import Iterator

import keras
import numpy as np
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.capture.calls import Call
from keras_parity.ladder.capture.patched import ordered, run_patched
from keras_parity.ladder.diagnosis.finding import Finding, Setting
from keras_parity.ladder.diagnosis.layer_attributes import compute, differing, to_paste, with_settings
from keras_parity.ladder.diagnosis.paths import keras_path, torch_path
from keras_parity.ladder.diagnosis.segments import LIMITS, Segment, difference_at, segment_before, try_fixes
from keras_parity.ladder.matching.arrays import RECURRENT
from keras_parity.ladder.matching.kinds import kind_of
from keras_parity.ladder.matching.match_weights import Match
from keras_parity.ladder.rungs.comparison import Comparison
from keras_parity.ladder.rungs.rung import relative


def diagnose_layers(pair: Comparison) -> list[Finding]:
    """The layers and segments that are wrong by themselves, in the order in which PyTorch runs them.

    Both sides have PyTorch's weights meanwhile.
    """
    keras_side, match, limit = pair.keras[pair.exact], pair.match, LIMITS[pair.exact]
    pair.reset()
    keras_side.load(match.to_keras(pair.torch[pair.exact].state()))
    inputs = keras_side.feed(pair.port.keras_batches[0][0])
    forced = run_patched(keras_side.model, match, inputs)
    found: list[Finding] = []
    segments: dict[int, Segment] = {}
    for place, matched in enumerate(match.pairs):
        ours, theirs = match.torch_calls[matched.torch], match.keras_calls[matched.keras]
        difference = difference_at(pair, place, forced.given.get(place))
        made_of_own = any(parent in forced.unpatched for parent, _ in theirs.parents)
        if not difference <= limit and not made_of_own:
            segments[place] = segment_before(pair, place, difference)
            found.append(segments[place].finding)
        if place in forced.errors and found and made_of_own:
            continue  # the shape of its weights follows from that of what it gets
        if place in forced.errors:
            what = f"Keras's layer cannot take PyTorch's input: {forced.errors[place]}"
            found.append(Finding(ours.name, np.inf, what, *_layer_fixes(pair, ours, theirs, None, limit)))
        elif place in forced.out and ours.out is not None:
            difference = _own(ours.out, forced.out[place], matched.order)
            if not difference <= limit:
                settings, lines = _layer_fixes(pair, ours, theirs, forced.out[place], limit)
                what = f"{type(ours.layer).__name__} against Keras's {type(theirs.layer).__name__}"
                found.append(Finding(ours.name, difference, what, settings, lines))
    try_fixes(pair, segments, inputs)
    pair.reset()
    return [*found, *_lonely(match, bool(found))]


def first_difference(pair: Comparison) -> Iterator[Finding]:
    """The first layer whose outputs differ, where each by itself does the same: what differs comes with the call."""
    ours, theirs = pair.tensors(pair.records[pair.exact], "out")
    for name, output in ours.items():
        difference = relative(output, theirs[name])
        if not difference <= LIMITS[pair.exact]:
            what = "the first layer whose output differs, though it does the same on equal input: look at its mask, "
            yield Finding(name, difference, f"{what}its initial state, or the order of its steps")
            return


def _lonely(match: Match, others: bool) -> Iterator[Finding]:
    """What one side has alone; the shapes of a layer that both have may follow from other findings."""
    both = (
        {match.torch_calls[p.torch].name for p in match.pairs},
        {match.keras_calls[p.keras].name for p in match.pairs},
    )
    sides = zip(("PyTorch", "Keras"), (match.only_torch, match.only_keras), both, (".", "/"), strict=True)
    for framework, alone, matched, dot in sides:
        names = [name for name in alone if not (others and name.rpartition(dot)[0] in matched and _unlike(match, name))]
        if names:
            some = f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
            yield Finding(some, np.inf, f"in {framework} alone, or of another shape there")
    yield from _resized(match)


def _resized(match: Match) -> Iterator[Finding]:
    """Dense layers whose input has another size, as what comes before them has another shape."""
    again = "kp.check(torch_model, keras_model, images).match.copy_to_torch(keras_model, torch_model)"
    for pair in match.pairs:
        ours, theirs = match.torch_calls[pair.torch], match.keras_calls[pair.keras]
        if isinstance(ours.layer, nn.Linear) and isinstance(theirs.layer, keras.layers.Dense):
            size, wanted = ours.layer.in_features, theirs.layer.kernel.shape[0]
            if size != wanted and ours.layer.out_features == theirs.layer.units:
                made = f"{torch_path(ours.name)} = nn.Linear({wanted}, {ours.layer.out_features})"
                setting = Setting("in_features", size, wanted)
                yield Finding(ours.name, np.inf, "takes another number of features", [setting], [f"{made}; {again}"])


def _unlike(match: Match, name: str) -> bool:
    """Whether both sides have the array, in other shapes."""
    last = name.replace("/", ".").rpartition(".")[2]
    return last in ("weight", "kernel") and bool(match.only_torch) == bool(match.only_keras)


def _own(mine: NDArray, out: NDArray, order: NDArray | None) -> float:
    if mine.ndim != out.ndim:  # heads and their features as one axis, or the last step alone
        mine = mine.reshape(out.shape) if mine.size == out.size else mine[:, -1]
    both = mine.shape == out.shape and order is not None and len(order) == mine.shape[-1]
    return relative(_nearest(mine, ordered(mine, order), out) if both else mine, out)


def _nearest(one: NDArray, other: NDArray, wanted: NDArray) -> NDArray:
    return min(one, other, key=lambda array: float(np.abs(array - wanted).max(initial=0.0)))


def _gate_fixes(pair: Comparison, theirs: Call) -> tuple[list[Setting], list[str]]:
    """PyTorch's gates are fixed: sigmoid, and tanh for what passes them."""
    settings, lines = [], []
    cell, path = theirs.layer.cell, f"{keras_path(pair.keras[pair.exact].model, theirs.layer)}.cell"
    for name, fixed in (("recurrent_activation", "sigmoid"), ("activation", "tanh")):
        current = getattr(getattr(cell, name, None), "__name__", fixed)
        if current != fixed:
            settings.append(Setting(name, fixed, current))
            lines.append(f"{path}.{name} = keras.activations.{fixed}")
    return settings, ["; ".join(lines)] if lines else []


def _layer_fixes(
    pair: Comparison, ours: Call, theirs: Call, wanted: NDArray | None, limit: float
) -> tuple[list[Setting], list[str]]:
    """PyTorch's module with Keras's settings, one at a time, then all of them."""
    if kind_of(theirs.layer, 1) in RECURRENT:
        return _gate_fixes(pair, theirs)
    if ours.given is None:
        return [], []
    last = theirs.between[-1][1] if theirs.between else None
    settings = differing(ours.layer, theirs.layer, ours.given.shape[1:-1], last, ours.pads)
    padding = [name for name, module, _ in ours.between[-1:] if "Pad" in type(module).__name__]
    padded_by = (padding or [""])[0] if ours.pads else None
    lines: list[str] = []
    for tried in (*([setting] for setting in settings), settings):
        if lines and tried is settings:
            break
        try:
            made = compute(with_settings(ours.layer, tried, ours.pads), ours.given)
        except (RuntimeError, ValueError):  # settings that do not go together
            continue
        if wanted is not None and relative(made, wanted) <= limit:
            lines.append(to_paste(ours.name, ours.layer, tried, padded_by))
    return settings, lines
