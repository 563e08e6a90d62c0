"""Diagnoses outputs in another form: logits instead of probabilities, or another order of several outputs."""

from collections.abc import Iterator
from functools import partial
from itertools import permutations

import numpy as np
from scipy.special import expit, softmax
from torch import nn

from keras_parity.ladder.diagnosis.evidence import CLOSE
from keras_parity.ladder.diagnosis.finding import Finding
from keras_parity.ladder.diagnosis.paths import keras_path, torch_path
from keras_parity.ladder.judge.losses import form_of
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import array_distance, distance
from keras_parity.ladder.judge.probe import probe

_PROBABILITIES = {"Sigmoid": expit, "Softmax": partial(softmax, axis=-1)}

ENDS = (nn.Softmax, nn.LogSoftmax, nn.Sigmoid)
"""Modules that may end a model, or be left to its loss."""


def diagnose_order(pair: ModelPair) -> Iterator[Finding]:
    """Yields the order in which Keras returns PyTorch's outputs, if that is all that differs."""
    from_torch, from_keras, _ = probe(pair)
    if len(from_torch) != len(from_keras):
        return
    for order in list(permutations(range(len(from_torch))))[1:24] if len(from_torch) < 5 else []:
        layouts = [pair.layouts[place] for place in order]
        if distance([from_torch[place] for place in order], from_keras, layouts) <= CLOSE:
            what = f"Keras returns PyTorch's outputs in the order {order}"
            yield Finding("the outputs", distance(from_torch, from_keras, pair.layouts), what)
            return


def diagnose_outputs(pair: ModelPair) -> Iterator[Finding]:
    """Yields how the form of PyTorch's outputs differs from Keras's."""
    from_torch, from_keras, _ = probe(pair)
    if len(from_torch) != len(from_keras):
        return
    for a, b, layout in zip(from_torch, from_keras, pair.layouts, strict=True):
        a = layout.apply(a)
        if a.shape != b.shape or array_distance(a, b) <= CLOSE:
            continue
        name = "Sigmoid" if a.ndim < 2 or a.shape[-1] == 1 else "Softmax"
        for logits, probabilities, in_torch in ((a, b, True), (b, a, False)):
            expected = _PROBABILITIES[name](logits.astype(np.float64))
            left, before = array_distance(expected, probabilities), array_distance(a, b)
            fits = left < (before if name == "Softmax" else before / 4)  # rows that sum to 1 are no coincidence
            bounded = logits.min() >= 0 and logits.max() <= 1  # such as a softmax over another axis
            if (left <= CLOSE or fits) and not bounded and form_of(probabilities) != form_of(logits) == "logits":
                sides = ("PyTorch", "Keras") if in_torch else ("Keras", "PyTorch")
                reason = f"{sides[0]} leaves the {name.lower()} to its loss"
                what = f"{sides[0]} returns logits, {sides[1]} probabilities: {reason}"
                lines = list(_lines(pair, name, in_torch)) if len(from_torch) == 1 else []
                yield Finding("the output", array_distance(a, b), what, [], lines)


def _lines(pair: ModelPair, name: str, in_torch: bool) -> Iterator[str]:
    last = pair.keras_model.layers[-1] if pair.keras_model.layers else None
    if in_torch:
        yield f"torch_model = nn.Sequential(torch_model, nn.{name}({'1' if name == 'Softmax' else ''}))"
        return
    ends = [n for n, module in pair.torch_model.named_modules() if isinstance(module, ENDS)]
    if ends:
        yield f"{torch_path(ends[-1])} = nn.Identity()"
    if hasattr(last, "activation"):
        yield f"{keras_path(pair.keras_model, last)}.activation = keras.activations.{name.lower()}"
