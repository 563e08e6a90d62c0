"""Diagnoses which weights train: frozen ones, those of one side only, ties, second biases."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import keras
import numpy as np
import torch
from torch import nn

from keras_parity.ladder.capture.attention import split_attention
from keras_parity.ladder.diagnosis.evidence import Evidence
from keras_parity.ladder.diagnosis.finding import Finding, Setting
from keras_parity.ladder.diagnosis.paths import keras_path, torch_path
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.matching.arrays import named_variables


def diagnose_frozen(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Finds weights that only one side trains."""
    parameters = dict(split_attention(pair.torch_model).named_parameters())
    variables = named_variables(pair.keras_model)
    for keras_name, name in evidence.match.names.items():
        parameter, variable = parameters.get(name), variables[keras_name]
        if parameter is None or parameter.requires_grad == variable.trainable:
            continue
        in_torch = bool(parameter.requires_grad)
        lines = [f"{torch_path(name)}.requires_grad_({not in_torch})"]
        if in_torch:
            layers = pair.keras_model._flatten_layers()
            owner = next(x for x in layers if any(variable is weight for weight in _own_weights(x)))
            lines.insert(0, f"{keras_path(pair.keras_model, owner)}.trainable = True")
        trained, frozen = ("PyTorch", "Keras") if in_torch else ("Keras", "PyTorch")
        setting = Setting("requires_grad", in_torch, not in_torch)
        yield Finding(name, np.inf, f"frozen in {frozen}, trained in {trained}", [setting], lines)


def diagnose_one_sided(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Finds trained weights that the other side does not have."""
    parameters, variables = dict(pair.torch_model.named_parameters()), named_variables(pair.keras_model)
    for name in evidence.match.only_torch:
        if name in parameters and parameters[name].requires_grad:
            line = f"{torch_path(name)}.requires_grad_(False)"
            yield Finding(name, 0.0, "PyTorch trains it, Keras has none", [Setting("weight", "trained", None)], [line])
    for name in evidence.match.only_keras:
        if (variable := variables[name]).trainable:
            layers = pair.keras_model._flatten_layers()
            owner = next(x for x in layers if any(variable is weight for weight in _own_weights(x)))
            line = f"{keras_path(pair.keras_model, owner)}.{variable.name}.trainable = False"
            yield Finding(name, 0.0, "Keras trains it, PyTorch has none", [Setting("weight", None, "trained")], [line])


def _own_weights(layer: keras.Layer) -> list[Any]:
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def diagnose_second_biases(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Finds RNNs with two trained biases in PyTorch and one in Keras."""
    cells = [getattr(call.layer, "cell", None) for call in evidence.match.keras_calls]
    one_bias = any(isinstance(cell, (keras.layers.LSTMCell, keras.layers.SimpleRNNCell)) for cell in cells)
    names = [n for n, p in pair.torch_model.named_parameters() if ".bias_hh_l" in f".{n}" and p.requires_grad]
    if one_bias and names:
        line = "; ".join(f"{torch_path(name)}.requires_grad_(False)" for name in names)
        where = ", ".join(dict.fromkeys(name.rpartition(".")[0] or "torch_model" for name in names))
        what = "PyTorch adds two trained biases, Keras has one, so PyTorch's sum moves twice as far"
        yield Finding(where, 0.0, what, [], [line])


def diagnose_ties(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Finds weights that start equal and train separately."""
    named = [(n, p) for n, p in pair.torch_model.named_parameters() if p.ndim > 1]
    for (name, first), (other, second) in combinations(named, 2):
        if first.shape == second.shape and torch.equal(first, second):
            what = f"starts equal to {name} but trains separately; tied in Keras?"
            yield Finding(other, 0.0, what, [], [f"{torch_path(other)} = {torch_path(name)}"])


def diagnose_padding_rows(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Finds rows of embeddings that PyTorch never trains."""
    for name, module in pair.torch_model.named_modules():
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            what = f"PyTorch never trains row {module.padding_idx} (padding_idx), Keras does"
            yield Finding(name, 0.0, what, [], [f"{torch_path(name)}.padding_idx = None"])
