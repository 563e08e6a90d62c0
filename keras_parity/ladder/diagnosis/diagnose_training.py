"""Diagnoses why two models of the same function train differently, with candidate fixes."""

from collections.abc import Iterator

import keras
import numpy as np
from torch import nn

from keras_parity.ladder.diagnosis.diagnose_inputs import loss_lines
from keras_parity.ladder.diagnosis.diagnose_optimizer import (
    describe_extras,
    diagnose_clipping,
    diagnose_constraints,
    diagnose_decay,
    diagnose_optimizer,
    diagnose_schedule,
    optimizer_prefix,
)
from keras_parity.ladder.diagnosis.diagnose_trained import (
    diagnose_frozen,
    diagnose_one_sided,
    diagnose_padding_rows,
    diagnose_second_biases,
    diagnose_ties,
)
from keras_parity.ladder.diagnosis.evidence import CLOSE, Evidence
from keras_parity.ladder.diagnosis.finding import Finding, Setting
from keras_parity.ladder.diagnosis.paths import keras_path, torch_path
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.judge.nests import array_distance, leaves, slice_samples
from keras_parity.ladder.judge.probe import run_torch
from keras_parity.ladder.matching.arrays import variable_name


def diagnose_training(evidence: Evidence) -> Iterator[Finding]:
    """Yields what may differ between the trainings, the likeliest cause first."""
    pair = evidence.pair
    suspects = (
        *(diagnose_frozen, diagnose_one_sided, diagnose_second_biases, _stateful, _modes, _losses, _regularizers),
        *(diagnose_schedule, diagnose_optimizer, diagnose_decay, diagnose_clipping, diagnose_constraints),
        *(_statistics, diagnose_ties, diagnose_padding_rows),
    )
    for find in suspects:
        yield from find(evidence, pair)


def _stateful(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    for layer in pair.keras_model._flatten_layers():
        if getattr(layer, "stateful", False):
            what = "Keras carries its state on from batch to batch (stateful=True)"
            yield Finding(layer.name, 0.0, what, [], [f"{keras_path(pair.keras_model, layer)}.stateful = False"])


def _modes(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Finds batch norms that only one side runs in training mode, else outputs that differ in it."""
    if not evidence.modes_differ:
        return
    found = False
    for matched in evidence.match.pairs:
        name = evidence.match.torch_calls[matched.torch].name
        layer = evidence.match.keras_calls[matched.keras].layer
        moved = [bool(np.any(update)) for update in evidence.updates.get(f"{name}.running_mean", ())]
        if moved == [True, False]:
            what = "Keras runs it in inference mode while training (trainable=False, or called with training=False)"
            module = torch_path(name)
            lines = [f"{module}.eval().train = lambda mode=True: {module}"]
        elif moved == [False, True]:
            what = "PyTorch runs it in inference mode while training"
            lines = [f"{keras_path(pair.keras_model, layer)}.trainable = False"]
        else:
            continue
        found = True
        yield Finding(name, 0.0, what, [], lines)
    if not found:
        yield _other_outputs(evidence)


def _other_outputs(evidence: Evidence) -> Finding:
    what = "the outputs differ in training mode only, at the same weights: check what each layer does in it"
    return Finding("the output", evidence.outputs_off, what)


def _losses(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    in_torch, in_keras = evidence.losses
    if _close(in_torch, in_keras) or pair.brings_training or evidence.modes_differ:
        return
    outputs = list(leaves(run_torch(pair, pair.batch_size)))
    labels = list(leaves(slice_samples(pair.torch_labels, 0, pair.batch_size)))
    what, lines = f"{in_torch:.7g} in PyTorch, {in_keras:.7g} in Keras for the same outputs and labels", []
    if pair.class_weight is not None:
        what += "; Keras weights the classes and divides by the number of samples"
    if len(outputs) == len(labels) == 1:
        known = loss_lines(outputs[0], labels[0], pair.class_weight, _smoothing(pair))
        lines += [f"torch_loss = lambda logits, labels: {line}" for line, value in known if _close(value, in_keras)]
        line, value = min(known, key=lambda each: round(abs(each[1] - in_torch), 7), default=("", np.nan))
        if _close(value, in_torch):
            what = f"PyTorch's is {line} = {in_torch:.7g}, Keras's is {in_keras:.7g}"
    yield Finding("the loss", abs(in_torch - in_keras), what, [], lines)


def _close(value: float, expected: float) -> bool:
    return abs(value - expected) <= CLOSE * max(1.0, abs(expected))


def _smoothing(pair: ModelPair) -> tuple[float, ...]:
    """Returns candidate label smoothings: Keras's own, and common ones."""
    loss = pair.keras_loss if pair.keras_loss is not None else getattr(pair.keras_model, "loss", None)
    config = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    return (*([config["label_smoothing"]] if config.get("label_smoothing") else []), 0.05, 0.1, 0.2)


def _regularizers(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    names = evidence.match.names
    terms, weights, unknown, added = [], [], [], evidence.added_loss
    for variable in pair.keras_model.trainable_variables:
        regularizer = variable.regularizer
        if regularizer is None:
            continue
        name = names.get(variable_name(pair.keras_model, variable))
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
        arguments, loss = "output, labels, loss=torch_loss", "loss(output, labels)"
        if "torch_loss" in pair.guessed:
            arguments, loss = "output, labels", str(pair.loss_text)
        line = f"torch_loss = lambda {arguments}: {loss} + {' + '.join(terms)}"
        no_decay = "[group.update(weight_decay=0.0) for group in torch_optimizer.param_groups]"
        what = f"Keras adds a penalty of {added:.6g} to its loss (kernel_regularizer or bias_regularizer)"
        yield Finding(", ".join(weights), added, what, [], [line, f"{line}; {optimizer_prefix(pair)}{no_decay}"])
    if others or (not terms and added):
        where = ", ".join(others or unknown) or "the Keras model"
        yield Finding(where, added, f"Keras adds {added:.6g} to its loss (activity_regularizer or add_loss)")


def _statistics(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    modules = dict(pair.torch_model.named_modules())
    for matched in evidence.match.pairs:
        name = evidence.match.torch_calls[matched.torch].name
        module, layer = modules.get(name), evidence.match.keras_calls[matched.keras].layer
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and isinstance(layer, keras.layers.BatchNormalization):
            wanted = float(np.round(1 - layer.momentum, 12))
            if module.momentum is None or abs(module.momentum - wanted) > 1e-9:
                setting = Setting("momentum", module.momentum, wanted)
                line = f"{torch_path(name)}.momentum = {wanted}"
                yield Finding(name, 0.0, "the moving averages have another momentum", [setting], [line])


def unexplained(evidence: Evidence) -> Finding:
    """Measures where the first steps differ, if no fix explains it, and lists the features of Keras's training."""
    finding = _measured(evidence)
    finders = diagnose_clipping, diagnose_constraints, diagnose_decay, describe_extras
    facts = [fact.what for find in finders for fact in find(evidence, evidence.pair)]
    finding.what += "".join(f"; {fact}" for fact in facts)
    return finding


def _measured(evidence: Evidence) -> Finding:
    (in_torch, in_keras), off = evidence.losses, evidence.differing_updates()
    if evidence.modes_differ:
        return _other_outputs(evidence)
    if not _close(in_torch, in_keras):
        what = f"{in_torch:.7g} in PyTorch, {in_keras:.7g} in Keras at the same weights"
        return Finding("the loss", abs(in_torch - in_keras), what)
    unmatched = [*evidence.match.only_torch, *evidence.match.only_keras]
    if not off and unmatched:
        what = "the other side has another shape or number of these weights, so it trains differently"
        return Finding(", ".join(unmatched[:4]), 0.0, what)
    if not off:
        return Finding("the optimizer", 0.0, "the first step agrees; state that changes with the steps differs")
    names = list(off)
    ratios = [float(np.linalg.norm(a) / (np.linalg.norm(b) or np.nan)) for a, b in off.values()]
    if 2 * len(off) > len(evidence.updates) > 1 and np.ptp(ratios) < 1e-3 * max(ratios):
        return Finding("the optimizer", abs(1 - ratios[0]), f"every update is {ratios[0]:.6g} times Keras's")
    moves = np.isfinite(ratios).all()
    what = f"its first update is {ratios[0]:.4g} times Keras's" if moves else "Keras's update is zero"
    where = ", ".join(names[:3]) + (f" and {len(names) - 3} more, up to {names[-1]}" if len(names) > 3 else "")
    return Finding(where, max(array_distance(*both) for both in off.values()), what)
