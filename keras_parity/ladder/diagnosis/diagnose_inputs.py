"""Diagnoses initial weights, batches and losses that differ, with candidate fixes."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import permutations
from typing import Any

import keras
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.diagnosis.finding import Finding
from keras_parity.ladder.diagnosis.paths import evaluate
from keras_parity.ladder.diagnosis.paths import torch_path as path
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import Arrays, array_distance, leaves
from keras_parity.ladder.matching.arrays import Array
from keras_parity.ladder.rungs.comparison import Copies

CLOSE = 1e-6
"""Relative difference up to which two float32 arrays count as equal."""


def diagnose_weights(copies: Copies) -> list[Finding]:
    """Finds the initial weights that differ, with lines that rearrange PyTorch's into Keras's."""
    match, weights, in_keras = copies.match, copies.torch.state(), copies.keras.state()
    ours, wanted = match.to_keras(weights), match.to_torch(in_keras)
    differing = [array for array in match.arrays if not _same(array[0], ours, in_keras)]  # of two biases, their sum
    names = [name for _, names in differing for name in names if name in wanted]
    off = {name: d for name in names if (d := array_distance(weights[name], wanted[name])) > CLOSE}
    found = []
    for name, difference in off.items():
        lines = [line for line, left in _rearranged(copies, name, weights, wanted, off) if left <= CLOSE]
        gates = bool(lines) and "torch.cat" in lines[0]
        what = f"the {_kind(copies, name)}'s gates are in another order" if gates else "the weights differ"
        found.append(Finding(name, difference, what, [], lines[:1]))
    copy = "report.match.copy_to_torch(keras_model, torch_model)"
    if len(found) > 1 and not any(finding.lines for finding in found):
        all_differ = len(off) == len(wanted)
        where = "the initial weights" if all_differ else f"{found[0].where} and {len(off) - 1} more weights"
        return [Finding(where, max(off.values()), f"{len(off)} of {len(wanted)} weights differ", [], [copy])]
    for finding in found:
        finding.lines.append(copy)
    return found


def _same(array: Array, ours: Arrays, theirs: Arrays) -> bool:
    return array.name in ours and array_distance(ours[array.name], theirs[array.name]) <= CLOSE


def _rearranged(
    copies: Copies, name: str, weights: Arrays, wanted: Arrays, off: Mapping[str, float]
) -> Iterator[tuple[str, float]]:
    target, array, network = f"{path(name)}.data", weights[name], copies.torch.network
    for moved in _moves(copies, name, array):
        left = array_distance(evaluate(moved, torch_model=network).numpy(), wanted[name])
        yield f"{target} = {moved}.contiguous()", left
    for other in off:
        if other != name and weights[other].shape == array.shape:
            left = max(array_distance(weights[other], wanted[name]), array_distance(array, wanted[other]))
            yield f"{target}, {path(other)}.data = {path(other)}.data, {target}", left


def _moves(copies: Copies, name: str, array: NDArray) -> Iterator[str]:
    """Yields rearrangements of a weight's elements, as Python expressions."""
    rank, target = array.ndim, f"{path(name)}.data"
    gates = {"GRU": 3, "LSTM": 4}.get(_kind(copies, name), 0)
    if gates and name.rpartition(".")[2].startswith(("weight_", "bias_")):
        for order in permutations(range(gates)):
            yield f"torch.cat([{target}.chunk({gates})[gate] for gate in {order}])"
    moves = {2: ["roll(1, 0)", "roll(-1, 0)"]}
    moves[4] = ["transpose(2, 3)", "flip(2, 3)", "flip(2, 3).transpose(2, 3)"]
    yield from (f"{target}.{move}" for move in moves.get(rank, []))
    if rank >= 2 and array.shape[0] == array.shape[1]:
        yield f"{target}.transpose(0, 1)"
    if rank == 4 and array.shape[1] == 3:
        yield f"{target}.flip(1)"
    if rank == 2:
        shapes = {call.output.shape[1:] for call in copies.match.keras_calls if call.output is not None}
        shapes |= {tuple(shape[1:]) for call in copies.match.keras_calls for *_, shape in call.between}
        for *space, channels in sorted(shape for shape in shapes if len(shape) > 1):
            if int(np.prod(space)) * channels == array.shape[1]:
                last, first, rank = (len(array), *space, channels), (len(array), channels, *space), len(space) + 2
                to_first, to_last = (0, rank - 1, *range(1, rank - 1)), (0, *range(2, rank), 1)
                for axes, shape in ((to_first, last), (to_last, first)):
                    yield f"{target}.reshape{shape}.permute{axes}.reshape{array.shape}"


def _kind(copies: Copies, name: str) -> str:
    owner = name.rpartition(".")[0]
    return next((call.kind for call in copies.match.torch_calls if call.name == owner), "")


def diagnose_batches(pair: ModelPair) -> Iterator[Finding]:
    """Finds how PyTorch's inputs differ from Keras's; for models with one input."""
    inputs = list(leaves(pair.torch_images)), list(leaves(pair.images))
    if [len(side) for side in inputs] != [1, 1] or inputs[0][0].size != inputs[1][0].size:
        return
    torch_images, keras_images = (side[0] for side in inputs)
    difference = _off(torch_images, keras_images)
    if difference <= CLOSE or not np.isfinite(difference):
        return
    changes = ["torch_images / 255", "torch_images * 255", "torch_images[:, ::-1]", "torch_images[:, ::-1] / 255"]
    changes += ["torch_images.swapaxes(2, 3)"] * (torch_images.ndim == 4) + ["torch_images[::-1]"]
    lines = [f"torch_images = {change}" for change in changes
             if _off(evaluate(change, torch_images=torch_images), keras_images) <= CLOSE]  # fmt: skip
    if not lines and (places := _order(torch_images, keras_images)):
        lines.append(f"torch_images = torch_images[{places}]")
    yield Finding("the batches", difference, "PyTorch's inputs differ from Keras's", [], lines)


def diagnose_precision(pair: ModelPair) -> Iterator[Finding]:
    """Finds layers that Keras computes in half precision."""
    units = [layer for layer in pair.keras_model._flatten_layers() if not list(layer._flatten_layers(False))]
    units = [layer for layer in units if not isinstance(layer, keras.layers.InputLayer)]
    half = [layer for layer in units if layer.compute_dtype in ("float16", "bfloat16")]
    if half:
        names = [layer.name for layer in half]
        where = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        policies = ", ".join(sorted({layer.dtype_policy.name for layer in half}))
        line = 'single = keras.DTypePolicy("float32"); '
        line += '[setattr(layer, "dtype_policy", single) for layer in keras_model._flatten_layers()]'
        yield Finding(where, 0.0, f"Keras computes in {half[0].compute_dtype} ({policies})", [], [line])


def _off(torch_images: NDArray, keras_images: NDArray) -> float:
    """Returns the relative difference of two inputs, as they are or with channels moved to the last axis."""
    layouts = [torch_images, np.moveaxis(torch_images, 1, -1)] if torch_images.ndim > 2 else [torch_images]
    return min(array_distance(array, keras_images) for array in layouts)


def _order(torch_images: NDArray, keras_images: NDArray) -> list[int]:
    """Returns the indices of Keras's images among PyTorch's; empty if one is missing, or if the order is the same.

    Args:
        torch_images: [count, channels, ...], or as Keras's.
        keras_images: [count, ...].
    """
    for images in (np.moveaxis(torch_images, 1, -1), torch_images) if torch_images.ndim > 2 else (torch_images,):
        places = {image.tobytes(): place for place, image in enumerate(np.ascontiguousarray(images))}
        found = [places.get(image.tobytes(), -1) for image in keras_images]
        if min(found) >= 0 and images.tobytes() != keras_images.tobytes():  # else equal images would count as swapped
            return found
    return []


def loss_lines(
    output: torch.Tensor,
    labels: NDArray,
    class_weight: Mapping[int, float] | None,
    smoothing: tuple[float, ...],
) -> list[tuple[str, float]]:
    """Returns candidate losses of ``logits`` and ``labels``, as Python, each with its value.

    Args:
        output: PyTorch's output.
        labels: PyTorch's labels.
        class_weight: Keras's class weights.
        smoothing: Label smoothings to try, each in [0, 1).
    """
    out = output.detach().cpu().double()
    targets = torch.tensor(labels)
    names: dict[str, Any] = {"nn": nn, "torch": torch, "logits": out, "labels": targets}
    lines: list[str] = []
    ones = torch.ones((), dtype=torch.float64)
    soft = targets.shape == out.shape and out.ndim > 1 and bool(torch.allclose(targets.double().sum(-1), ones))
    if targets.numel() == out.numel() and not soft:
        names["labels"] = targets.double() if targets.is_floating_point() else targets
        shaped = "labels.reshape(logits.shape).to(logits.dtype)"
        lines += [f"nn.functional.{name}(logits, {shaped})" for name in ("mse_loss", "l1_loss", "huber_loss",
                  "binary_cross_entropy_with_logits", "binary_cross_entropy")]  # fmt: skip
        lines.append(f"nn.functional.mse_loss(logits, {shaped}, reduction='sum')")
    elif out.ndim >= 2 and (soft or not targets.is_floating_point()):
        names["labels"] = targets.double() if soft else targets
        inputs = ["logits", "logits.softmax(1)", "logits.log()"]
        options = ["", ", reduction='sum'", *(f", label_smoothing={part}" for part in smoothing)]
        lines += [f"nn.functional.cross_entropy({x}, labels{option})" for x in inputs for option in options]
        lines += ["nn.functional.nll_loss(logits, labels)", "nn.functional.nll_loss(logits.log(), labels)"]
        if class_weight is not None:
            weight = (
                f"weight=torch.tensor({[float(class_weight[c]) for c in sorted(class_weight)]}, dtype=logits.dtype)"
            )
            lines.append(f"nn.functional.cross_entropy(logits, labels, {weight}, reduction='sum') / len(labels)")
            lines.append(f"nn.functional.cross_entropy(logits, labels, {weight})")
        lines.append("nn.functional.mse_loss(logits, labels)")
    found = []
    for line in lines:
        with suppress(Exception), warnings.catch_warnings(action="ignore"):  # by a loss that rejects these outputs
            found.append((line, eval(line, names).item()))
    return found
