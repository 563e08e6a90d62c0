"""What has to be done to initial weights, batches and losses that differ; each is tried."""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from keras_parity.ladder.culprit import Culprit, Repair
from keras_parity.ladder.pair import Pair
from keras_parity.ladder.port import Arrays, as_tuple
from keras_parity.ladder.rung import relative
from keras_parity.ladder.settings import path

CLOSE = 1e-6
"""Relative difference of two arrays in float32 that counts as none."""


Change = tuple[str, Callable[[NDArray], NDArray]]


def bad_weights(pair: Pair) -> list[Culprit]:
    """The initial weights that differ, and what has to be done to PyTorch's so that they do not."""
    ours, theirs = pair.torch["float32"].state(), pair.match.to_torch(pair.keras["float32"].state())
    off = {name: d for name, wanted in theirs.items() if (d := relative(ours[name], wanted)) > CLOSE}
    found = []
    for name, difference in off.items():
        lines = _reworked(pair, name, ours, theirs, off)
        repairs = [Repair(line, left) for line, left in lines if left <= CLOSE]
        found.append(Culprit(name, difference, "the weights themselves differ", [], repairs[:1]))
    if len(found) > 1 and not any(culprit.repairs for culprit in found):
        copied = Repair("report.match.copy_to_torch(keras_model, torch_model)", 0.0)
        return [Culprit("the initial weights", max(off.values()), f"{len(off)} of {len(theirs)} differ", [], [copied])]
    return found


def _reworked(
    pair: Pair, name: str, ours: Arrays, theirs: Arrays, off: Mapping[str, float]
) -> Iterator[tuple[str, float]]:
    target, array = f"{path(name)}.data", ours[name]
    for line, change in _moves(pair, name, array):
        yield f"{target} = {target}{line}.contiguous()", relative(change(array), theirs[name])
    for other in off:
        if other != name and ours[other].shape == array.shape:
            left = max(relative(ours[other], theirs[name]), relative(array, theirs[other]))
            yield f"{target}, {path(other)}.data = {path(other)}.data, {target}", left


def _moves(pair: Pair, name: str, array: NDArray) -> Iterator[Change]:
    """Changes of the order of a weight's elements, as tensors write them."""
    rank = array.ndim
    if rank == 4:
        yield ".transpose(2, 3)", lambda a: a.swapaxes(2, 3)
        yield ".flip(2, 3)", lambda a: a[:, :, ::-1, ::-1]
        yield ".flip(2, 3).transpose(2, 3)", lambda a: a[:, :, ::-1, ::-1].swapaxes(2, 3)
    if rank >= 2 and array.shape[0] == array.shape[1]:
        yield ".transpose(0, 1)", lambda a: a.swapaxes(0, 1)
    if rank == 4 and array.shape[1] == 3:
        yield ".flip(1)", lambda a: a[:, ::-1]
    if rank == 2:
        shapes = {call.out.shape[1:] for call in pair.match.keras_calls if call.out is not None and call.out.ndim == 4}
        between = (s for call in pair.match.keras_calls for *_, s in call.between if len(s) == 4)
        for height, width, channels in sorted(shapes | {tuple(shape[1:]) for shape in between}):
            if height * width * channels == array.shape[1]:
                last, first = (len(array), height, width, channels), (len(array), channels, height, width)
                for axes, form in (((0, 3, 1, 2), last), ((0, 2, 3, 1), first)):
                    line = f".reshape{form}.permute{axes}.reshape{array.shape}"
                    yield line, partial(_flattened, shape=form, axes=axes)


def _flattened(array: NDArray, shape: tuple[int, ...], axes: tuple[int, ...]) -> NDArray:
    return array.reshape(shape).transpose(axes).reshape(array.shape)


def bad_batches(pair: Pair) -> list[Culprit]:
    """What has to be done to PyTorch's batches so that they are Keras's."""
    ours, theirs = pair.port.torch_batches, pair.port.keras_batches
    first, wanted = as_tuple(ours[0][0])[0], as_tuple(theirs[0][0])[0]
    images = [np.moveaxis(first, 1, -1), first] if first.ndim > 2 else [first]
    changes: list[Change] = [
        ("torch_images / 255", lambda a: a / 255),
        ("torch_images * 255", lambda a: a * 255),
        ("torch_images[:, ::-1]", lambda a: a[..., ::-1]),
        ("torch_images[:, ::-1] / 255", lambda a: a[..., ::-1] / 255),
        ("torch_images.swapaxes(2, 3)", lambda a: a.swapaxes(1, 2) if a.ndim == 4 else a),
    ]
    repairs = [
        Repair(f"torch_images = {line}", left)
        for line, change in changes
        for image in images
        if (left := relative(change(image.astype(np.float64)), wanted.astype(np.float64))) <= CLOSE
    ]
    if places := _order(*(np.concatenate([as_tuple(inputs)[0] for inputs, _ in side]) for side in (ours, theirs))):
        repairs.append(Repair(f"torch_images = torch_images[order], where order begins {places[:6]}", 0.0))
    labels = [batch[1].tobytes() for batch in theirs]
    order = [labels.index(batch[1].tobytes()) for batch in ours if batch[1].tobytes() in labels]
    if len(order) == len(ours) > 1 and order != sorted(order):
        repairs.append(Repair(f"the batches in this order: {order[:6]} ...", 0.0))
    difference = relative(images[0].astype(np.float64), wanted.astype(np.float64))
    return [Culprit("the batches", difference, "", [], repairs)]


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


def bad_loss(pair: Pair) -> list[Culprit]:
    """Which loss of PyTorch's gives the value of Keras's, on the same outputs."""
    outputs = pair.torch[pair.exact].outputs(pair.port.torch_batches[0][0])
    labels = pair.port.torch_batches[0][1]
    mine, other = pair.torch[pair.exact].value(outputs, labels), pair.keras[pair.exact].value(outputs, labels)
    out = torch.from_numpy(outputs.astype(np.float64))
    indices = torch.from_numpy(labels.argmax(-1) if labels.ndim > 1 else labels)
    repairs, means = [], []
    for line, value in _losses(out, indices):
        if abs(value - other) <= 1e-6 * max(1.0, abs(other)):
            repairs.append(Repair(f"torch_loss = lambda logits, labels: {line}", abs(value - other)))
        if abs(value - mine) <= 1e-6 * max(1.0, abs(mine)):
            means.append(line)
    what = f"PyTorch's is {means[0]}" if means else ""
    difference = abs(mine - other)
    return [Culprit("the loss", difference, what, [], repairs[:1])]


def _losses(logits: torch.Tensor, labels: torch.Tensor) -> Iterator[tuple[str, float]]:
    if logits.ndim != 2 or labels.is_floating_point():
        return
    inputs = {"logits": logits, "logits.softmax(1)": logits.softmax(1)}
    settings = ["", ", reduction='sum'", *(f", label_smoothing={part}" for part in (0.05, 0.1, 0.2))]
    for name, given in inputs.items():
        for setting in settings:
            line = f"nn.functional.cross_entropy({name}, labels{setting})"
            words = dict(pair.split("=") for pair in setting.removeprefix(", ").split(", ") if pair)
            options = {key: text.strip("'") if "'" in text else float(text) for key, text in words.items()}
            yield line, F.cross_entropy(given, labels, **options).item()  # type: ignore[arg-type]
    yield "nn.functional.nll_loss(logits, labels)", F.nll_loss(logits, labels).item()
    yield "nn.functional.nll_loss(logits.log(), labels)", F.nll_loss(logits.log(), labels).item()
