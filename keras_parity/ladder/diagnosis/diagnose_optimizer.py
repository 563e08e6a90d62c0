"""Optimizers, schedules, decays, clipping and constraints that differ: lines that may mend them."""

from collections.abc import Iterator
from inspect import signature
from itertools import combinations
from typing import Any

import keras
import numpy as np
import torch

from cnn_mnist.pytorch import keras_optimizers
from keras_parity.ladder.capture.keras_calls import variable_names
from keras_parity.ladder.diagnosis.evidence import CLOSE, Evidence
from keras_parity.ladder.diagnosis.finding import Finding, Setting
from keras_parity.ladder.diagnosis.paths import call_text, torch_path
from keras_parity.ladder.judge.model_pair import ModelPair


def given_optimizer(pair: ModelPair) -> str:
    """What has to stand before a line that changes ``torch_optimizer``, which may be a function, or left out."""
    if isinstance(pair.torch_optimizer, torch.optim.Optimizer):
        return ""
    made = "torch.optim.SGD(torch_model.parameters(), 0.01)"
    if pair.torch_optimizer is not None:
        made = "torch_optimizer(list(torch_model.parameters()))"
    return f"torch_optimizer = {made}; "


def diagnose_schedule(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Learning rates that differ from step to step."""
    schedule = evidence.keras_optimizer._learning_rate
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        if pair.torch_schedule is not None and len(set(evidence.rates)) > 1:
            what = (
                f"PyTorch's learning rate goes from {evidence.rates[0]:.6g} to {evidence.rates[-1]:.6g}, Keras's stays"
            )
            yield Finding("the schedule", 0.0, what, [], ["torch_schedule = None"])
        return
    base = None if pair.optimizer is None else float(pair.optimizer.param_groups[0]["lr"])
    theirs = [float(schedule(step)) for step in range(max(1, len(evidence.rates)))]
    ours = evidence.rates or [base or np.nan]
    off = [step for step, (a, b) in enumerate(zip(ours, theirs, strict=True)) if abs(a - b) > CLOSE * abs(b)]
    if evidence.rates and not off:
        return
    step = off[0] if off else 0
    what = f"learning rate of step {step + 1}: {ours[step]:.6g} in PyTorch, {theirs[step]:.6g} in Keras"
    config = {name: value for name, value in schedule.get_config().items() if name != "name"}
    rate = call_text(f"keras.optimizers.schedules.{type(schedule).__name__}", config)
    line = f"torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step, rate={rate}: float(rate(step)) / {base!r})"
    yield Finding(
        "the schedule", abs(ours[step] - theirs[step]), what, [], [f"torch_schedule = lambda optimizer: {line}"]
    )


def diagnose_optimizer(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """PyTorch's optimizer with Keras's settings, one to three at a time, all of them, then with Keras's formula."""
    ours, theirs = pair.optimizer, evidence.keras_optimizer
    if ours is None or pair.brings_training:
        return
    config, name = theirs.get_config(), type(theirs).__name__
    rate = theirs._learning_rate
    config["learning_rate"] = float(str(np.float32(rate(0) if callable(rate) else config["learning_rate"])))
    settings = [s for s in _settings(ours.param_groups[0], config) if _differ(s.ours, s.theirs)]
    each, before = "[group.update({}) for group in torch_optimizer.param_groups]", given_optimizer(pair)
    what, lines = f"{type(ours).__name__} against Keras's {name}", []
    for count in (1, 2, 3, len(settings)):
        for some in combinations(settings, count) if count else ():
            if len(ours.param_groups) == 1:
                lines.append(
                    before + "; ".join(f"torch_optimizer.param_groups[0][{s.name!r}] = {s.theirs!r}" for s in some)
                )
            else:
                lines.append(before + each.format(", ".join(f"{s.name}={s.theirs!r}" for s in some)))
    if "initial_accumulator_value" in config and isinstance(ours, torch.optim.Adagrad):
        words = {"lr": config["learning_rate"], "eps": config["epsilon"]}
        words |= {"initial_accumulator_value": config["initial_accumulator_value"]}
        lines.insert(0, f"torch_optimizer = torch.optim.Adagrad(torch_model.parameters(), {call_text('', words)[1:]}")
        start = ours.param_groups[0]["initial_accumulator_value"]
        settings.append(Setting("initial_accumulator_value", start, config["initial_accumulator_value"]))
        what += f"; its accumulator begins with {start}, Keras's with {config['initial_accumulator_value']}"
    formula = getattr(keras_optimizers, f"Keras{name.removesuffix('W')}", None)
    if formula is not None:
        known = signature(formula).parameters
        words = {"lr": config["learning_rate"]} | {k: v for k, v in config.items() if k in known and v is not None}
        line = f"torch_optimizer = {formula.__name__}({{}}, {call_text('', words)[1:]}"
        line = f"from {formula.__module__} import {formula.__name__}; {line}"
        lines.append(line.format("torch_model.parameters()"))
    yield Finding("the optimizer", 0.0, what, settings, list(dict.fromkeys(lines)))


def _settings(group: dict[str, Any], config: dict[str, Any]) -> Iterator[Setting]:
    """By PyTorch's names."""
    known = {"lr": "learning_rate", "alpha": "rho", "eps": "epsilon"}
    theirs = {name: config.get(known.get(name, name)) for name in group}
    if "beta_1" in config:
        theirs["betas"] = (config["beta_1"], config["beta_2"])
    for name in ("lr", "momentum", "betas", "alpha", "eps", "weight_decay", "nesterov", "centered", "rho", "epsilon"):
        if name in group and (theirs[name] is not None or name == "weight_decay"):
            yield Setting(name, group[name], theirs[name] or (0.0 if name == "weight_decay" else theirs[name]))


def _differ(ours: Any, theirs: Any) -> bool:
    """Whether two settings differ by more than a rounding through float32."""
    if isinstance(ours, bool) or isinstance(theirs, bool):
        return bool(ours) != bool(theirs)
    return not np.allclose(ours, theirs, rtol=1e-6, atol=0)


def diagnose_decay(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Weights that Keras's weight decay leaves out."""
    ours, theirs = pair.optimizer, evidence.keras_optimizer
    if ours is None or not theirs.weight_decay or pair.brings_training:
        return
    variables = {variable_names(pair.keras_model)[id(v)]: v for v in pair.keras_model.trainable_variables}
    groups: dict[bool, list[str]] = {True: [], False: []}
    for array, names in evidence.match.arrays:
        if array.name in variables:
            groups[theirs._use_weight_decay(variables[array.name])] += [torch_path(name) for name in names]
    words = {k: v for k, v in ours.defaults.items() if k in ("lr", "betas", "eps", "momentum", "alpha", "nesterov")}
    parts = [f'{{"params": [{", ".join(params)}], "weight_decay": {theirs.weight_decay * uses}}}'
             for uses, params in groups.items() if params]  # fmt: skip
    name = type(ours).__name__
    made = f"torch.optim.{name}" if getattr(torch.optim, name, None) is type(ours) else "type(torch_optimizer)"
    line = f"torch_optimizer = {made}([{', '.join(parts)}], {call_text('', words)[1:]}"
    decayed = [g["weight_decay"] for g in ours.param_groups if g.get("weight_decay")]
    what = f"Keras decays {len(groups[True])} weights and leaves out {len(groups[False])}; PyTorch decays by {decayed}"
    yield Finding("the optimizer", 0.0, what, [], [line])


def diagnose_clipping(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Gradients that Keras clips."""
    config = evidence.keras_optimizer.get_config()
    each = "p.grad.mul_({0} / max(float(p.grad.norm()), {0})) for p in torch_model.parameters() if p.grad is not None"
    calls = {
        "clipnorm": f"[{each}]",
        "global_clipnorm": "nn.utils.clip_grad_norm_(torch_model.parameters(), {0})",
        "clipvalue": "nn.utils.clip_grad_value_(torch_model.parameters(), {0})",
    }
    for name, limit in [(name, config[name]) for name in calls if config.get(name)]:
        lines = []
        if pair.optimizer is not None and not pair.brings_training:
            hook = f"torch_optimizer.register_step_pre_hook(lambda *_: {calls[name].format(limit)} and None)"
            lines.append(given_optimizer(pair) + hook)
        if isinstance(pair.keras_optimizer, keras.Optimizer):
            lines += [f"keras_optimizer.{name} = None; keras_optimizer.{o} = {limit}" for o in calls if o != name]
            lines.append(f"keras_optimizer.{name} = None")
        yield Finding("the optimizer", 0.0, f"Keras clips gradients by {name}={limit}", [], lines)


def diagnose_constraints(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Weights that Keras projects after each step."""
    names = {array.name: torch_names[0] for array, torch_names in evidence.match.arrays}
    for variable in pair.keras_model.trainable_variables:
        constraint = variable.constraint
        name = names.get(variable_names(pair.keras_model)[id(variable)])
        if constraint is None or name is None or pair.optimizer is None:
            continue
        kind, tensor = type(constraint).__name__, f"{torch_path(name)}.data"
        projected = None
        if kind == "NonNeg":
            projected = f"{tensor}.clamp_(min=0)"
        elif kind == "MaxNorm" and constraint.axis in (0, [0, 1, 2]):
            projected = f"{tensor}.copy_({tensor}.renorm(2, 0, {constraint.max_value}))"
        lines = (
            [f"{given_optimizer(pair)}torch_optimizer.register_step_post_hook(lambda *_: {projected} is None)"]
            if projected
            else []
        )
        yield Finding(name, 0.0, f"Keras holds it to {kind} after each step", [], lines)
