"""Diagnoses optimizers, schedules, weight decay, clipping and constraints that differ, with candidate fixes."""

from collections.abc import Iterator
from inspect import signature
from itertools import combinations
from typing import Any

import keras
import numpy as np
import torch

from cnn_mnist.pytorch import keras_optimizers
from keras_parity.ladder.diagnosis.evidence import CLOSE, Evidence
from keras_parity.ladder.diagnosis.finding import Finding, Setting
from keras_parity.ladder.diagnosis.paths import call_text, torch_path
from keras_parity.ladder.judge.build_pair import optimizer_config
from keras_parity.ladder.judge.model_pair import ModelPair
from keras_parity.ladder.matching.arrays import variable_name


def optimizer_prefix(pair: ModelPair) -> str:
    """Returns a line that turns ``torch_optimizer`` into an optimizer if it is a function or missing, else ""."""
    if isinstance(pair.torch_optimizer, torch.optim.Optimizer):
        return ""
    made = "torch.optim.SGD(torch_model.parameters(), 0.01)"
    if pair.torch_optimizer is not None:
        made = "torch_optimizer(list(torch_model.parameters()))"
    return f"torch_optimizer = {made}; "


def diagnose_schedule(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Finds learning rates that differ from step to step."""
    schedule, rates = evidence.keras_optimizer._learning_rate, evidence.rates
    if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        if len(set(rates)) > 1:
            what = f"PyTorch's learning rate goes from {rates[0]:.6g} to {rates[-1]:.6g}, Keras's is constant"
            lines = ["torch_schedule = None"] if pair.torch_schedule is not None else []
            yield Finding("the schedule", float(np.ptp(rates)), what, [], lines)
        return
    in_keras = [float(schedule(step)) for step in range(len(rates))]
    off = [step for step, (a, b) in enumerate(zip(rates, in_keras, strict=True)) if abs(a - b) > CLOSE * abs(b)]
    if len(set(rates)) > 1 and not off:
        return
    difference, what = 0.0, f"Keras's learning rate follows {type(schedule).__name__}, PyTorch has no schedule"
    if off:
        difference = abs(rates[off[0]] - in_keras[off[0]])
        both = f"{rates[off[0]]:.6g} in PyTorch, {in_keras[off[0]]:.6g} in Keras"
        what = f"learning rate at step {off[0] + 1}: {both}"
    lines = []
    known = getattr(keras.optimizers.schedules, type(schedule).__name__, None) is type(schedule)
    if known and pair.optimizer is not None:
        base = float(pair.optimizer.param_groups[0]["lr"])
        config = {name: value for name, value in schedule.get_config().items() if name != "name"}
        rate = call_text(f"keras.optimizers.schedules.{type(schedule).__name__}", config)
        made = f"torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step, rate={rate}: float(rate(step)) / {base!r})"
        lines.append(f"torch_schedule = lambda optimizer: {made}")
    yield Finding("the schedule", difference, what, [], lines)


def diagnose_optimizer(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Tries Keras's settings in PyTorch's optimizer, one to three at a time and all together, then Keras's formula."""
    optimizer = pair.optimizer
    if optimizer is None or pair.brings_training:
        return
    config, name = optimizer_config(evidence.keras_optimizer), type(evidence.keras_optimizer).__name__
    rate = evidence.keras_optimizer._learning_rate
    group = dict(optimizer.param_groups[0])
    if callable(rate):  # rates that differ from step to step are the schedule's
        config["learning_rate"] = group["lr"] = group.get("initial_lr", group["lr"])
    else:
        config["learning_rate"] = float(str(np.float32(config["learning_rate"])))
    settings = [s for s in _settings(group, config) if _differ(s.ours, s.theirs)]
    prefix, what, lines = optimizer_prefix(pair), f"{type(optimizer).__name__} differs from Keras's {name}", []
    for count in (1, 2, 3, len(settings)):
        for some in combinations(settings, count) if count else ():
            if len(optimizer.param_groups) == 1:
                changes = [f"torch_optimizer.param_groups[0][{s.name!r}] = {s.theirs!r}" for s in some]
                lines.append(prefix + "; ".join(changes))
            else:
                update = ", ".join(f"{s.name}={s.theirs!r}" for s in some)
                lines.append(f"{prefix}[group.update({update}) for group in torch_optimizer.param_groups]")
    if "initial_accumulator_value" in config and isinstance(optimizer, torch.optim.Adagrad):
        accumulator = config["initial_accumulator_value"]
        arguments = {"lr": config["learning_rate"], "eps": config["epsilon"], "initial_accumulator_value": accumulator}
        made = f"torch.optim.Adagrad(torch_model.parameters(), {call_text('', arguments)[1:]}"
        lines.insert(0, f"torch_optimizer = {made}")
        start = optimizer.param_groups[0]["initial_accumulator_value"]
        settings.append(Setting("initial_accumulator_value", start, accumulator))
        what += f"; its accumulator starts at {start}, Keras's at {accumulator}"
    formula = getattr(keras_optimizers, f"Keras{name.removesuffix('W')}", None)
    if formula is not None:
        known = signature(formula).parameters
        arguments = {"lr": config["learning_rate"]} | {k: v for k, v in config.items() if k in known and v is not None}
        made = f"{formula.__name__}(torch_model.parameters(), {call_text('', arguments)[1:]}"
        lines.append(f"from {formula.__module__} import {formula.__name__}; torch_optimizer = {made}")
    yield Finding("the optimizer", 0.0, what, settings, list(dict.fromkeys(lines)))


def _settings(group: dict[str, Any], config: dict[str, Any]) -> Iterator[Setting]:
    """Yields the settings of both optimizers by PyTorch's names."""
    aliases = {"lr": "learning_rate", "alpha": "rho", "eps": "epsilon"}
    in_keras = {name: config.get(aliases.get(name, name)) for name in group}
    if "beta_1" in config:
        in_keras["betas"] = (config["beta_1"], config["beta_2"])
    absent = {"weight_decay": 0.0, "dampening": 0.0, "amsgrad": False, "maximize": False}
    in_keras |= {name: in_keras.get(name) or value for name, value in absent.items()}
    names = "lr", "momentum", "betas", "alpha", "eps", "nesterov", "centered", "rho", "epsilon", *absent
    for name in names:
        if name in group and in_keras[name] is not None:
            yield Setting(name, group[name], in_keras[name])


def _differ(a: Any, b: Any) -> bool:
    """Whether two settings differ by more than rounding through float32."""
    if isinstance(a, bool) or isinstance(b, bool):
        return bool(a) != bool(b)
    return not np.allclose(a, b, rtol=1e-6, atol=0)


def diagnose_decay(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Finds weights that Keras excludes from weight decay."""
    optimizer, keras_optimizer = pair.optimizer, evidence.keras_optimizer
    if optimizer is None or not keras_optimizer.weight_decay or pair.brings_training:
        return
    variables = {variable_name(pair.keras_model, v): v for v in pair.keras_model.trainable_variables}
    groups: dict[bool, list[str]] = {True: [], False: []}
    for array, names in evidence.match.arrays:
        if array.name in variables:
            groups[keras_optimizer._use_weight_decay(variables[array.name])] += [torch_path(name) for name in names]
    copied = ("lr", "betas", "eps", "momentum", "alpha", "nesterov")
    arguments = {name: value for name, value in optimizer.defaults.items() if name in copied}
    made = [f'{{"params": [{", ".join(params)}], "weight_decay": {keras_optimizer.weight_decay * decays}}}'
            for decays, params in groups.items() if params]  # fmt: skip
    name = type(optimizer).__name__
    kind = f"torch.optim.{name}" if getattr(torch.optim, name, None) is type(optimizer) else "type(torch_optimizer)"
    line = f"torch_optimizer = {kind}([{', '.join(made)}], {call_text('', arguments)[1:]}"
    decays = [group["weight_decay"] for group in optimizer.param_groups if group.get("weight_decay")]
    what = f"Keras decays {len(groups[True])} weights and excludes {len(groups[False])}; PyTorch's decays are {decays}"
    yield Finding("the optimizer", 0.0, what, [], [line])


def diagnose_clipping(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Finds gradient clipping in Keras."""
    config = optimizer_config(evidence.keras_optimizer)
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
            lines.append(optimizer_prefix(pair) + hook)
        if isinstance(pair.keras_optimizer, keras.Optimizer):
            off = f"keras_optimizer.{name} = None"
            lines += [*(f"{off}; keras_optimizer.{other} = {limit}" for other in calls if other != name), off]
        yield Finding("the optimizer", 0.0, f"Keras clips gradients ({name}={limit})", [], lines)


def describe_extras(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Finds features of Keras's optimizer, besides its steps, that no PyTorch setting provides."""
    config = optimizer_config(evidence.keras_optimizer)
    if config.get("use_ema"):
        often = f"ema_momentum={config['ema_momentum']}, ema_overwrite_frequency={config['ema_overwrite_frequency']}"
        yield Finding("the optimizer", 0.0, f"Keras averages its weights ({often})")
    if steps := config.get("gradient_accumulation_steps"):
        yield Finding("the optimizer", 0.0, f"Keras accumulates {steps} gradients for each step")


def diagnose_constraints(evidence: Evidence, pair: ModelPair) -> Iterator[Finding]:
    """Finds weights that Keras projects after each step."""
    for variable in pair.keras_model.trainable_variables:
        constraint = variable.constraint
        name = evidence.match.names.get(variable_name(pair.keras_model, variable))
        if constraint is None or name is None or pair.optimizer is None:
            continue
        kind, tensor = type(constraint).__name__, f"{torch_path(name)}.data"
        projections = []
        if kind == "NonNeg":
            projections = [f"{tensor}.clamp_(min=0)"]
        elif kind == "MaxNorm" and constraint.axis in (0, [0, 1, 2]):
            norm = f"(n := {tensor}.flatten(1).norm(dim=1).reshape(-1, *[1] * ({tensor}.ndim - 1)))"
            projections = [f"{tensor}.mul_({norm}.clamp(max={constraint.max_value}) / (n + {keras.config.epsilon()}))"]
        hook = f"{optimizer_prefix(pair)}torch_optimizer.register_step_post_hook"
        lines = [f"{hook}(lambda *_: {projection} is None)" for projection in projections]
        yield Finding(name, 0.0, f"Keras applies its {kind} constraint after each step", [], lines)
