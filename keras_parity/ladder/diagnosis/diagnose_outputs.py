"""Outputs that say the same in another form: logits for probabilities, or one output in the place of another."""

from collections.abc import Iterator
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.diagnosis.evidence import CLOSE
from keras_parity.ladder.diagnosis.finding import Finding
from keras_parity.ladder.diagnosis.paths import keras_path, torch_path
from keras_parity.ladder.judge.losses import form_of
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import array_distance, distance

ENDS = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid)
"""What may end a model, or be left to its loss."""


def diagnose_outputs(pair: ModelPair) -> Iterator[Finding]:
    """How the form of PyTorch's outputs differs from Keras's, where it does."""
    ours, theirs, _ = pair.probe()
    if len(ours) != len(theirs):
        return
    for order in list(permutations(range(len(ours))))[1:24] if len(ours) < 5 else []:
        if distance([ours[place] for place in order], theirs, [pair.layouts[place] for place in order]) <= CLOSE:
            what = f"Keras's are PyTorch's in the order {order}"
            yield Finding("the outputs", distance(ours, theirs, pair.layouts), what)
            return
    for one, other, layout in zip(ours, theirs, pair.layouts, strict=True):
        one = layout.turn(one)
        if one.shape != other.shape or array_distance(one, other) <= CLOSE:
            continue
        name = "Sigmoid" if one.ndim < 2 or one.shape[-1] == 1 else "Softmax"
        for mine, yours, here in ((one, other, True), (other, one, False)):
            if array_distance(_ended(mine, name), yours) <= CLOSE and form_of(yours) != "logits":
                sides = ("PyTorch", "Keras") if here else ("Keras", "PyTorch")
                left = f"a {name.lower()} that {sides[0]} leaves to its loss"
                what = f"{sides[0]} gives logits, {sides[1]} probabilities: {left}"
                lines = list(_lines(pair, name, here, one.ndim)) if len(ours) == 1 else []
                yield Finding("the output", array_distance(one, other), what, [], lines)


def _ended(logits: NDArray, name: str) -> NDArray:
    powers = np.exp(logits.astype(np.float64) - (logits.max(-1, keepdims=True) if name == "Softmax" else 0))
    return powers / powers.sum(-1, keepdims=True) if name == "Softmax" else powers / (1 + powers)


def _lines(pair: ModelPair, name: str, here: bool, rank: int) -> Iterator[str]:
    last = pair.keras_model.layers[-1] if pair.keras_model.layers else None
    if here:
        yield f"torch_model = nn.Sequential(torch_model, nn.{name}({'1' if name == 'Softmax' else ''}))"
        return
    ends = [n for n, module in pair.torch_model.named_modules() if isinstance(module, ENDS)]
    if ends:
        yield f"{torch_path(ends[-1])} = nn.Identity()"
    if hasattr(last, "activation"):
        yield f"{keras_path(pair.keras_model, last)}.activation = keras.activations.{name.lower()}"
