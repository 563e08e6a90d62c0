"""Why two models that are the same function train apart: lines that may mend it, for the verdict to try."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import keras
import numpy as np
import torch
from torch import nn

from keras_parity.ladder.capture.attention import in_parts
from keras_parity.ladder.capture.keras_calls import variable_names
from keras_parity.ladder.diagnosis.diagnose_inputs import loss_lines
from keras_parity.ladder.diagnosis.diagnose_optimizer import (
    diagnose_clipping,
    diagnose_constraints,
    diagnose_decay,
    diagnose_optimizer,
    diagnose_schedule,
    given_optimizer,
)
from keras_parity.ladder.diagnosis.evidence import CLOSE, Evidence
from keras_parity.ladder.diagnosis.finding import Finding, Setting
from keras_parity.ladder.diagnosis.paths import keras_path, torch_path
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import array_distance, cut, leaves


def diagnose_training(evidence: Evidence) -> Iterator[Finding]:
    """What may differ between the trainings, the likeliest first."""
    pair = evidence.pair
    suspects = (
        *(_frozen, _second_biases, _losses, _regularizers, diagnose_schedule, diagnose_optimizer, diagnose_decay),
        *(diagnose_clipping, diagnose_constraints, _statistics, _ties, _padding_rows, _class_weights),
    )
    for find in suspects:
        yield from find(evidence, pair)


def _frozen(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    parameters = dict(in_parts(pair.torch_model).named_parameters())
    variables = {variable_names(pair.keras_model)[id(v)]: v for v in pair.keras_model.weights}
    for array, names in evidence.match.arrays:
        ours, theirs = parameters.get(names[0]), variables[array.name]
        if ours is None or ours.requires_grad == theirs.trainable:
            continue
        here, line = ours.requires_grad, f"{torch_path(names[0])}.requires_grad_({not ours.requires_grad})"
        owner = next(x for x in pair.keras_model._flatten_layers() if any(theirs is w for w in _own_weights(x)))
        lines = [f"{keras_path(pair.keras_model, owner)}.trainable = True", line] if here else [line]
        trained, frozen = ("PyTorch", "Keras") if here else ("Keras", "PyTorch")
        yield Finding(names[0], np.inf, f"frozen in {frozen}, trained in {trained}", [], lines)


def _own_weights(layer: keras.Layer) -> list[Any]:
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def _second_biases(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    layers = [call.layer for call in evidence.match.keras_calls if call.layer is not None]
    one = [
        layer
        for layer in layers
        if isinstance(getattr(layer, "cell", None), (keras.layers.LSTMCell, keras.layers.SimpleRNNCell))
    ]
    names = [n for n, p in pair.torch_model.named_parameters() if ".bias_hh_l" in f".{n}" and p.requires_grad]
    if one and names:
        line = "; ".join(f"{torch_path(name)}.requires_grad_(False)" for name in names)
        where = ", ".join(dict.fromkeys(name.rpartition(".")[0] or "torch_model" for name in names))
        yield Finding(
            where, 0.0, "PyTorch trains two biases that are added, Keras one: the sum moves twice as far", [], [line]
        )


def _losses(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    ours, theirs = evidence.losses
    if abs(ours - theirs) <= CLOSE * max(1.0, abs(theirs)) or pair.brings_training:
        return
    size = pair.batch_size
    outputs = list(leaves(pair.torch_outputs(size)))
    labels = list(leaves(cut(pair.torch_labels, 0, size)))
    what, lines = f"{ours:.7g} in PyTorch, {theirs:.7g} in Keras, of the same outputs and labels", []
    if len(outputs) == len(labels) == 1:
        for line, value in loss_lines(outputs[0], labels[0], pair.class_weight, _smoothing(pair)):
            if abs(value - theirs) <= CLOSE * max(1.0, abs(theirs)):
                lines.append(f"torch_loss = lambda logits, labels: {line}")
            if abs(value - ours) <= CLOSE * max(1.0, abs(ours)):
                what = f"PyTorch's is {line}: {ours:.7g}, where Keras's is {theirs:.7g}"
    yield Finding("the loss", abs(ours - theirs), what, [], lines)


def _smoothing(pair: ModelPair) -> tuple[float, ...]:
    """Label smoothing that may be meant: Keras's own, and the usual parts."""
    loss = pair.keras_loss if pair.keras_loss is not None else getattr(pair.keras_model, "loss", None)
    config = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    return (*([config["label_smoothing"]] if config.get("label_smoothing") else []), 0.05, 0.1, 0.2)


def _regularizers(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    names = {array.name: torch_names[0] for array, torch_names in evidence.match.arrays}
    terms, weights, unknown = [], [], []
    for variable in pair.keras_model.trainable_variables:
        regularizer = variable.regularizer
        if regularizer is None:
            continue
        name = names.get(variable_names(pair.keras_model)[id(variable)])
        config = regularizer.get_config()
        if name is None or not {"l1", "l2"} & config.keys():
            unknown.append(variable.path)
            continue
        weights.append(name)
        tensor = torch_path(name)
        terms += [f"{float(config['l2']):.8g} * ({tensor} ** 2).sum()"] if config.get("l2") else []
        terms += [f"{float(config['l1']):.8g} * {tensor}.abs().sum()"] if config.get("l1") else []
    others = [
        layer.name for layer in pair.keras_model._flatten_layers() if getattr(layer, "activity_regularizer", None)
    ]
    if terms:
        own = "output, labels", pair.loss_text
        if "torch_loss" not in pair.guessed:
            own = "output, labels, loss=torch_loss", "loss(output, labels)"
        line = f"torch_loss = lambda {own[0]}: {own[1]} + {' + '.join(terms)}"
        off = "[group.update(weight_decay=0.0) for group in torch_optimizer.param_groups]"
        what = f"Keras adds a penalty of {evidence.own:.6g} to its loss (kernel_regularizer or bias_regularizer)"
        lines = [line, f"{line}; {given_optimizer(pair)}{off}"]
        yield Finding(", ".join(weights), evidence.own, what, [], lines)
    if others or (not terms and evidence.own):
        where = ", ".join(others or unknown) or "the Keras model"
        yield Finding(
            where, evidence.own, f"Keras adds {evidence.own:.6g} to its loss (activity_regularizer or add_loss)"
        )


def _statistics(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    modules = dict(pair.torch_model.named_modules())
    for matched in evidence.match.pairs:
        name = evidence.match.torch_calls[matched.torch].name
        module, layer = modules.get(name), evidence.match.keras_calls[matched.keras].layer
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and isinstance(layer, keras.layers.BatchNormalization):
            wanted = float(np.round(1 - layer.momentum, 12))
            if module.momentum is None or abs(module.momentum - wanted) > 1e-9:
                setting = Setting("momentum", module.momentum, wanted)
                what = "the moving averages move at another rate"
                yield Finding(name, 0.0, what, [setting], [f"{torch_path(name)}.momentum = {wanted}"])


def _ties(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    named = [(n, p) for n, p in pair.torch_model.named_parameters() if p.ndim > 1]
    for (one, first), (other, second) in combinations(named, 2):
        if first.shape == second.shape and torch.equal(first, second):
            line = f"{torch_path(other)} = {torch_path(one)}"
            yield Finding(other, 0.0, f"equal to {one} at first, and trained by itself", [], [line])


def _padding_rows(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    for name, module in pair.torch_model.named_modules():
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            what = f"PyTorch never trains row {module.padding_idx} (padding_idx), Keras does"
            yield Finding(name, 0.0, what, [], [f"{torch_path(name)}.padding_idx = None"])


def _class_weights(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    if pair.class_weight is not None and not pair.brings_training:
        values = [float(pair.class_weight[c]) for c in sorted(pair.class_weight)]
        line = (
            f"nn.functional.cross_entropy(output, labels, weight=torch.tensor({values}), reduction='sum') / len(labels)"
        )
        yield Finding("the loss", 0.0, f"Keras weights the classes by {values}, over the number of samples",
                      [], [f"torch_loss = lambda output, labels: {line}"])  # fmt: skip


def what_is_left(evidence: Evidence) -> Finding:
    """Where the steps differ, measured, for what no line mends, with what Keras's training has that may be missing."""
    finding = _measured(evidence)
    finders = diagnose_clipping, diagnose_constraints, diagnose_decay
    facts = [fact.what for find in finders for fact in find(evidence, evidence.pair)]
    finding.what += "".join(f"; {fact}" for fact in facts)
    return finding


def _measured(evidence: Evidence) -> Finding:
    off = evidence.differing()
    if abs(evidence.losses[0] - evidence.losses[1]) > CLOSE * max(1.0, abs(evidence.losses[1])):
        what = f"{evidence.losses[0]:.7g} in PyTorch and {evidence.losses[1]:.7g} in Keras at the same weights"
        return Finding("the loss", abs(evidence.losses[0] - evidence.losses[1]), what)
    alone = [*evidence.match.only_torch, *evidence.match.only_keras]
    if not off and alone:
        what = "of another shape or number on the other side, and so trained otherwise"
        return Finding(", ".join(alone[:4]), 0.0, what)
    if not off:
        return Finding("the optimizer", 0.0, "the first step is the same; a state that moves with the steps differs")
    names = list(off)
    ratios = [float(np.linalg.norm(a) / (np.linalg.norm(b) or np.nan)) for a, b in off.values()]
    said = (
        f"its first update is {ratios[0]:.4g} times Keras's" if np.isfinite(ratios).all() else "Keras's does not move"
    )
    if 2 * len(off) > len(evidence.updates) > 1 and np.ptp(ratios) < 1e-3 * max(ratios):
        return Finding("the optimizer", abs(1 - ratios[0]), f"every update is {ratios[0]:.6g} times Keras's")
    where = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return Finding(where, max(array_distance(*both) for both in off.values()), said)
