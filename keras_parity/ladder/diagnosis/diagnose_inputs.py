"""What has to be done to initial weights, batches and losses that differ; each is tried."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import permutations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.diagnosis.finding import Finding
from keras_parity.ladder.diagnosis.paths import torch_path as path
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import leaves
from keras_parity.ladder.rungs.comparison import Comparison
from keras_parity.ladder.rungs.port import Arrays
from keras_parity.ladder.rungs.rung import relative

CLOSE = 1e-6
"""Relative difference of two arrays in float32 that counts as none."""


Change = tuple[str, Callable[[NDArray], NDArray]]


def diagnose_weights(pair: Comparison) -> list[Finding]:
    """The initial weights that differ, and what has to be done to PyTorch's so that they do not."""
    ours, theirs = pair.torch[pair.exact].state(), pair.match.to_torch(pair.keras[pair.exact].state())
    off = {name: d for name, wanted in theirs.items() if (d := relative(ours[name], wanted)) > CLOSE}
    found = []
    for name, difference in off.items():
        lines = _reworked(pair, name, ours, theirs, off)
        fitting = [line for line, left in lines if left <= CLOSE]
        gated = bool(fitting) and fitting[0].partition(" = ")[2].startswith("torch.cat")
        what = (
            f"the gates of the {_kind(pair, name)} stand in another order" if gated else "the weights themselves differ"
        )
        found.append(Finding(name, difference, what, [], fitting[:1]))
    copied = "report.match.copy_to_torch(keras_model, torch_model)"
    if len(found) > 1 and not any(finding.lines for finding in found):
        where = (
            "the initial weights" if len(off) == len(theirs) else f"{found[0].where} and {len(off) - 1} more weights"
        )
        return [Finding(where, max(off.values()), f"{len(off)} of {len(theirs)} weights differ", [], [copied])]
    for finding in found:
        finding.lines.append(copied)
    return found


def _reworked(
    pair: Comparison, name: str, ours: Arrays, theirs: Arrays, off: Mapping[str, float]
) -> Iterator[tuple[str, float]]:
    target, array = f"{path(name)}.data", ours[name]
    for line, change in _moves(pair, name, array):
        made = line if line.startswith("torch.") else f"{target}{line}"
        yield f"{target} = {made}.contiguous()", relative(change(array), theirs[name])
    for other in off:
        if other != name and ours[other].shape == array.shape:
            left = max(relative(ours[other], theirs[name]), relative(array, theirs[other]))
            yield f"{target}, {path(other)}.data = {path(other)}.data, {target}", left


def _moves(pair: Comparison, name: str, array: NDArray) -> Iterator[Change]:
    """Changes of the order of a weight's elements, as tensors write them."""
    rank = array.ndim
    role = name.rpartition(".")[2]
    gates = {"GRU": 3, "LSTM": 4}.get(_kind(pair, name), 0)
    if gates and role.startswith(("weight_", "bias_")):
        for order in permutations(range(gates)):
            line = f"torch.cat([{path(name)}.data.chunk({gates})[gate] for gate in {order}])"
            yield line, partial(_gated, order=order)
    if rank == 2:
        yield ".roll(1, 0)", lambda a: np.roll(a, 1, 0)
        yield ".roll(-1, 0)", lambda a: np.roll(a, -1, 0)
    if rank == 4:
        yield ".transpose(2, 3)", lambda a: a.swapaxes(2, 3)
        yield ".flip(2, 3)", lambda a: a[:, :, ::-1, ::-1]
        yield ".flip(2, 3).transpose(2, 3)", lambda a: a[:, :, ::-1, ::-1].swapaxes(2, 3)
    if rank >= 2 and array.shape[0] == array.shape[1]:
        yield ".transpose(0, 1)", lambda a: a.swapaxes(0, 1)
    if rank == 4 and array.shape[1] == 3:
        yield ".flip(1)", lambda a: a[:, ::-1]
    if rank == 2:
        shapes = {call.out.shape[1:] for call in pair.match.keras_calls if call.out is not None}
        shapes |= {tuple(shape[1:]) for call in pair.match.keras_calls for *_, shape in call.between}
        for *space, channels in sorted(shape for shape in shapes if len(shape) > 1):
            if int(np.prod(space)) * channels == array.shape[1]:
                last, first, count = (len(array), *space, channels), (len(array), channels, *space), len(space) + 2
                forward, back = (0, count - 1, *range(1, count - 1)), (0, *range(2, count), 1)
                for axes, form in ((forward, last), (back, first)):
                    line = f".reshape{form}.permute{axes}.reshape{array.shape}"
                    yield line, partial(_flattened, shape=form, axes=axes)


def _kind(pair: Comparison, name: str) -> str:
    owner = name.rpartition(".")[0]
    return next((call.kind for call in pair.match.torch_calls if call.name == owner), "")


def _gated(array: NDArray, order: tuple[int, ...]) -> NDArray:
    blocks = np.split(array, len(order))
    return np.concatenate([blocks[gate] for gate in order])


def _flattened(array: NDArray, shape: tuple[int, ...], axes: tuple[int, ...]) -> NDArray:
    return array.reshape(shape).transpose(axes).reshape(array.shape)


def diagnose_batches(pair: ModelPair) -> Iterator[Finding]:
    """What has to be done to PyTorch's inputs so that they are Keras's, where there is one of each."""
    arrays = list(leaves(pair.torch_images)), list(leaves(pair.images))
    if [len(side) for side in arrays] != [1, 1] or arrays[0][0].size != arrays[1][0].size:
        return
    ours, theirs = (side[0] for side in arrays)
    forms = [("", ours), *([("c", np.moveaxis(ours, 1, -1))] if ours.ndim > 2 else [])]
    forms = [(axes, form.astype(np.float64)) for axes, form in forms if form.shape == theirs.shape]
    wanted = theirs.astype(np.float64)
    if not forms or min(relative(form, wanted) for _, form in forms) <= CLOSE:
        return
    changes: list[Change] = [
        ("torch_images / 255", lambda a: a / 255),
        ("torch_images * 255", lambda a: a * 255),
        ("torch_images[:, ::-1]", lambda a: a[..., ::-1]),
        ("torch_images[:, ::-1] / 255", lambda a: a[..., ::-1] / 255),
        ("torch_images.swapaxes(2, 3)", lambda a: a.swapaxes(1, 2) if a.ndim == 4 else a),
        ("torch_images[::-1]", lambda a: a[::-1]),
    ]
    lines = [f"torch_images = {line}" for line, change in changes
             for _, form in forms if relative(change(form), wanted) <= CLOSE]  # fmt: skip
    if not lines and (places := _order(ours, theirs)):
        lines.append(f"torch_images = torch_images[{places}]")
    yield Finding("the batches", relative(forms[-1][1], wanted), "PyTorch's inputs are not Keras's", [], lines)


def _order(ours: NDArray, theirs: NDArray) -> list[int]:
    """The places of Keras's images among PyTorch's; empty where one is not there, or all are in their order.

    Args:
        ours: PyTorch's, [count, channels, ...] or as Keras's.
        theirs: Keras's, [count, ...].
    """
    for one in (np.moveaxis(ours, 1, -1), ours) if ours.ndim > 2 else (ours,):
        places = {image.tobytes(): place for place, image in enumerate(np.ascontiguousarray(one))}
        found = [places.get(image.tobytes(), -1) for image in theirs]
        if min(found) >= 0 and one.tobytes() != theirs.tobytes():  # else two equal images would pass for exchanged
            return found
    return []


def loss_lines(
    output: torch.Tensor,
    labels: NDArray,
    class_weight: Mapping[int, float] | None,
    smoothing: tuple[float, ...],
) -> Iterator[tuple[str, float]]:
    """Losses that may be meant, as Python writes them, each with its value; of ``logits`` and ``labels``."""
    out = output.detach().cpu().double()
    given = torch.tensor(labels)
    names: dict[str, Any] = {"nn": nn, "torch": torch, "logits": out, "labels": given}
    lines: list[str] = []
    ones = torch.ones((), dtype=torch.float64)
    spread = given.shape == out.shape and out.ndim > 1 and bool(torch.allclose(given.double().sum(-1), ones))
    if given.numel() == out.numel() and not spread:
        names["labels"] = given.double() if given.is_floating_point() else given
        shaped = "labels.reshape(logits.shape).to(logits.dtype)"
        lines += [f"nn.functional.{name}(logits, {shaped})" for name in ("mse_loss", "l1_loss", "huber_loss",
                  "binary_cross_entropy_with_logits", "binary_cross_entropy")]  # fmt: skip
        lines.append(f"nn.functional.mse_loss(logits, {shaped}, reduction='sum')")
    elif out.ndim >= 2 and not given.is_floating_point():
        inputs = ["logits", "logits.softmax(1)", "logits.log()"]
        words = ["", ", reduction='sum'", *(f", label_smoothing={part}" for part in smoothing)]
        lines += [f"nn.functional.cross_entropy({one}, labels{more})" for one in inputs for more in words]
        lines += ["nn.functional.nll_loss(logits, labels)", "nn.functional.nll_loss(logits.log(), labels)"]
        if class_weight is not None:
            weight = (
                f"weight=torch.tensor({[float(class_weight[c]) for c in sorted(class_weight)]}, dtype=logits.dtype)"
            )
            lines.append(f"nn.functional.cross_entropy(logits, labels, {weight}, reduction='sum') / len(labels)")
            lines.append(f"nn.functional.cross_entropy(logits, labels, {weight})")
    elif spread:
        words = ["", *(f", label_smoothing={part}" for part in smoothing)]
        lines += [f"nn.functional.cross_entropy(logits, labels{more})" for more in words]
        lines.append("nn.functional.mse_loss(logits, labels)")
        names["labels"] = given.double()
    for line in lines:
        with suppress(Exception):  # a loss that does not take these outputs
            yield line, eval(line, names).item()
