"""Finds layers that are wrong themselves, and tries known fixes on them."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.capture.calls import Call
from keras_parity.ladder.capture.patched import Patched, ordered, run_patched
from keras_parity.ladder.diagnosis.finding import Finding, Setting
from keras_parity.ladder.diagnosis.layer_attributes import compute_after, differing, to_paste
from keras_parity.ladder.diagnosis.paths import keras_path, torch_path
from keras_parity.ladder.diagnosis.segments import LIMITS, Segment, difference_at, segment_before, try_fixes
from keras_parity.ladder.judge.nests import array_distance
from keras_parity.ladder.matching.arrays import RECURRENT
from keras_parity.ladder.matching.kinds import kind_of
from keras_parity.ladder.matching.match_weights import Match
from keras_parity.ladder.rungs.comparison import Copies


def diagnose_layers(copies: Copies) -> list[Finding]:
    """Finds the layers and segments that are wrong themselves, in PyTorch's order; both sides get PyTorch's weights."""
    keras_side, match, limit = copies.keras, copies.match, LIMITS[copies.dtype]
    copies.reset()
    keras_side.load(match.to_keras(copies.torch.state()))
    inputs = keras_side.feed(copies.port.keras_batches[0][0])
    patched = run_patched(keras_side.model, match, inputs)
    found: list[Finding] = []
    segments: dict[int, Segment] = {}
    for place, matched in enumerate(match.pairs):
        torch_call, keras_call = match.torch_calls[matched.torch], match.keras_calls[matched.keras]
        difference = difference_at(copies, place, patched.inputs.get(place))
        after_unpatched = any(parent in patched.unpatched for parent, _ in keras_call.parents)
        if not difference <= limit and not after_unpatched:
            segments[place] = segment_before(copies, place, difference)
            found.append(segments[place].finding)
        if place in patched.errors and found and after_unpatched:
            continue  # the shape of its weights follows from the shape of its input
        if place in patched.errors:
            what = f"Keras's layer rejects PyTorch's input: {patched.errors[place]}"
            fixes = _layer_fixes(copies, torch_call, keras_call, None, limit)
            found.append(Finding(torch_call.name, np.inf, what, *fixes))
        elif place in patched.outputs and torch_call.output is not None:
            difference = _output_difference(torch_call.output, patched.outputs[place], matched.order)
            if not (difference <= limit or _is_made_up_for(copies, patched, place)):
                fixes = _layer_fixes(copies, torch_call, keras_call, patched.outputs[place], limit)
                what = f"{type(torch_call.layer).__name__} differs from Keras's {type(keras_call.layer).__name__}"
                found.append(Finding(torch_call.name, difference, what, *fixes))
    try_fixes(copies, segments, inputs)
    copies.reset()
    return [*found, *_unmatched(copies, bool(found))]


def _is_made_up_for(copies: Copies, patched: Patched, place: int) -> bool:
    """Whether the layers after a layer get equal input although its output has another shape.

    For example, PyTorch's ``forward`` crops the output.
    """
    match, number = copies.match, copies.match.pairs[place].keras
    if number not in patched.unpatched:
        return False
    calls = enumerate(match.keras_calls[pair.keras] for pair in match.pairs)
    after = [later for later, call in calls if number in dict(call.parents)]
    differences = [difference_at(copies, later, patched.inputs.get(later)) for later in after]
    return bool(after) and all(difference <= LIMITS[copies.dtype] for difference in differences)


def first_difference(copies: Copies) -> Iterator[Finding]:
    """Finds the first layer whose output differs, if every layer is right by itself: the call differs."""
    from_torch, from_keras = copies.tensors("output")
    for name, output in from_torch.items():
        difference = array_distance(output, from_keras[name])
        if not difference <= LIMITS[copies.dtype]:
            what = "the first layer whose output differs, although it computes the same from equal inputs: check its "
            yield Finding(name, difference, f"{what}mask, its initial state and the order of its steps")
            return


def _unmatched(copies: Copies, others: bool) -> Iterator[Finding]:
    """Yields weights of one side only; shapes of a matched layer may follow from other findings."""
    match = copies.match
    both = (
        {match.torch_calls[p.torch].name for p in match.pairs},
        {match.keras_calls[p.keras].name for p in match.pairs},
    )
    sides = zip(("PyTorch", "Keras"), (match.only_torch, match.only_keras), both, (".", "/"), strict=True)
    for framework, unmatched, matched, dot in sides:
        names = [
            name for name in unmatched if not (others and name.rpartition(dot)[0] in matched and _reshaped(match, name))
        ]
        if names:
            where = f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
            what = f"only in {framework}, or with another shape there"
            if alike := _of_equal_shape(copies, names[0]):
                what = f"not matched and so not compared; {alike} on the other side has the same shape"
            yield Finding(where, np.inf, what)
    yield from _resized(match)


def _of_equal_shape(copies: Copies, name: str) -> str:
    """Returns an unmatched weight of the other side with a weight's shape, up to the order of axes; empty if none."""
    sides = copies.torch.state(), copies.keras.state()
    shapes = {n: sorted(state[n].shape) for state in sides for n in state}
    others = copies.match.only_keras if name in sides[0] else copies.match.only_torch
    return next((other for other in others if shapes.get(other) == shapes.get(name)), "")


def _resized(match: Match) -> Iterator[Finding]:
    """Yields dense layers with another number of input features, which follows from the shape before them."""
    copy = "kp.check(torch_model, keras_model, images).match.copy_to_torch(keras_model, torch_model)"
    for pair in match.pairs:
        torch_call, dense = match.torch_calls[pair.torch], match.keras_calls[pair.keras].layer
        linear, name = torch_call.layer, torch_call.name
        if isinstance(linear, nn.Linear) and isinstance(dense, keras.layers.Dense):
            size, wanted = linear.in_features, dense.kernel.shape[0]
            if size != wanted and linear.out_features == dense.units:
                line = f"{torch_path(name)} = nn.Linear({wanted}, {linear.out_features}); {copy}"
                setting = Setting("in_features", size, wanted)
                yield Finding(name, np.inf, "takes another number of features", [setting], [line])


def _reshaped(match: Match, name: str) -> bool:
    """Whether both sides have the array, in different shapes."""
    last = name.replace("/", ".").rpartition(".")[2]
    return last in ("weight", "kernel") and bool(match.only_torch) == bool(match.only_keras)


def _output_difference(torch_output: NDArray, keras_output: NDArray, order: NDArray | None) -> float:
    if torch_output.ndim != keras_output.ndim:  # attention heads share one axis, or an RNN returns its last step only
        fits = torch_output.size == keras_output.size
        torch_output = torch_output.reshape(keras_output.shape) if fits else torch_output[:, -1]
    difference = array_distance(torch_output, keras_output)
    if torch_output.shape == keras_output.shape and order is not None and len(order) == torch_output.shape[-1]:
        return min(difference, array_distance(ordered(torch_output, order), keras_output))
    return difference


def _gate_fixes(copies: Copies, module: Any, keras_call: Call) -> tuple[list[Setting], list[str]]:
    """Returns fixes in Keras, because PyTorch cannot change its gates: sigmoid, and tanh or ``nonlinearity``."""
    settings, lines = [], []
    cell, model = keras_call.layer.cell, copies.keras.model
    path = f"{keras_path(model, keras_call.layer)}.cell"
    for name, fixed in (("recurrent_activation", "sigmoid"), ("activation", getattr(module, "nonlinearity", "tanh"))):
        current = getattr(getattr(cell, name, None), "__name__", fixed)
        if current != fixed:
            settings.append(Setting(name, fixed, current))
            lines.append(f"{path}.{name} = keras.activations.{fixed}")
    return settings, ["; ".join(lines)] if lines else []


def _layer_fixes(
    copies: Copies, torch_call: Call, keras_call: Call, wanted: NDArray | None, limit: float
) -> tuple[list[Setting], list[str]]:
    """Tries Keras's settings in PyTorch's module, one at a time, then all together."""
    if kind_of(keras_call.layer, 1) in RECURRENT:
        return _gate_fixes(copies, torch_call.layer, keras_call)
    if torch_call.input is None:
        return [], []
    module, pads, network = torch_call.layer, torch_call.pads, copies.torch.network
    before = keras_call.between[-1][1] if keras_call.between else None
    settings = differing(module, keras_call.layer, torch_call.input.shape[1:-1], before, pads)
    padding = [name for name, module, _ in torch_call.between[-1:] if "Pad" in type(module).__name__]
    padded_by = padding[0] if pads and padding else ""
    lines: list[str] = []
    for tried in (*([setting] for setting in settings), settings):
        if lines and tried is settings:
            break
        line = to_paste(torch_call.name, module, tried, pads, padded_by)
        with suppress(RuntimeError, ValueError):  # settings that exclude each other
            output = compute_after(network, line, torch_call.name, torch_call.input, pads, padded_by)
            if wanted is not None and array_distance(output, wanted) <= limit:
                lines.append(line)
    return settings, lines
