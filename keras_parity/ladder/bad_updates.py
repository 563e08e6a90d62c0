"""What has to be done to layers, optimizers and statistics that a step changes otherwise; each is tried."""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from inspect import signature as parameters_of
from itertools import combinations, islice
from typing import Any

import keras
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from cnn_mnist.pytorch import keras_optimizers
from keras_parity.ladder.culprit import Culprit, Repair
from keras_parity.ladder.forced import ordered
from keras_parity.ladder.pair import Pair
from keras_parity.ladder.rung import relative
from keras_parity.ladder.settings import Setting, path


def frozen_layers(pair: Pair) -> list[Culprit]:
    """The weights that one side trains and the other does not."""
    trained = {name for name, p in pair.torch["float32"].network.named_parameters() if p.requires_grad}
    model = pair.keras["float32"].model
    keras_names = pair.keras["float32"].trained()
    found = []
    for array, names in pair.match.arrays:
        if names[0].rpartition(".")[2].startswith("running_") or (names[0] in trained) == (array.name in keras_names):
            continue
        here = names[0] in trained
        line = (f"{path(names[0])}.requires_grad_({not here})" if not here
                else f'keras_model.get_layer("{_layer_of(model, array.name)}").trainable = True')  # fmt: skip
        what = f"trained in {'PyTorch' if here else 'Keras'} alone"
        found.append(Culprit(names[0], float("inf"), what, [], [Repair(line, _unfrozen(pair, names[0], array.name))]))
    return found


def _layer_of(model: Any, name: str) -> str:
    owner = name.rpartition("/")[0].rpartition("/")[2]
    return owner or model.name


def _unfrozen(pair: Pair, torch_name: str, keras_name: str) -> float:
    """The difference of the gradients where both sides train the weight."""
    side = pair.torch[pair.exact]
    pair.reset()
    parameter = dict(side.network.named_parameters())[torch_name]
    was = parameter.requires_grad
    parameter.requires_grad_(True)
    mine = pair.match.to_keras(side.gradients(pair.port.torch_batches[0])[1])
    parameter.requires_grad_(was)
    theirs = pair.keras[pair.exact].gradients_of([keras_name], pair.port.keras_batches[0])
    both = keras_name in mine and keras_name in theirs
    return relative(mine[keras_name], theirs[keras_name]) if both else float("inf")


def bad_optimizer(pair: Pair) -> list[Culprit]:
    """PyTorch's optimizer with Keras's settings, one to three at a time, then with Keras's formula."""
    side, keras = pair.torch[pair.exact], pair.keras[pair.exact]
    pair.reset()
    before = _two_steps(pair, pair.port.torch_optimizer)
    if before <= 1e-12:
        return []
    config, name = keras.optimizer.get_config(), type(keras.optimizer).__name__
    settings = [s for s in _optimizer_settings(dict(side.optimizer.param_groups[0]), config) if s.ours != s.theirs]
    candidates: list[tuple[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]]] = []
    for count in (1, 2, 3):
        for some in combinations(settings, count):
            line = "; ".join(f"torch_optimizer.param_groups[0][{s.name!r}] = {s.theirs!r}" for s in some)
            candidates.append((line, partial(_set, pair.port.torch_optimizer, some)))
    formula = getattr(keras_optimizers, f"Keras{name.removesuffix('W')}", None)
    if formula is not None:
        known = parameters_of(formula).parameters
        words = {"lr": config["learning_rate"]} | {k: v for k, v in config.items() if k in known and v is not None}
        given = ", ".join(f"{key}={value!r}" for key, value in words.items())
        line = f"torch_optimizer = {formula.__name__}(torch_model.parameters(), {given})"
        line = f"from {formula.__module__} import {formula.__name__}; {line}"
        candidates.append((line, lambda p: formula(p, **words)))
    tried = (Repair(line, _two_steps(pair, make)) for line, make in candidates)
    repairs = list(islice((repair for repair in tried if repair.left <= 1e-9), 1))
    what = f"{type(side.optimizer).__name__} against Keras's {name}"
    pair.reset()
    return [Culprit("the optimizer", before, what, settings, repairs)]


def _set(make: Any, settings: Sequence[Setting], params: list[nn.Parameter]) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = make(params)
    for group in optimizer.param_groups:
        group.update({setting.name: setting.theirs for setting in settings})
    return optimizer


def _optimizer_settings(group: dict[str, Any], config: dict[str, Any]) -> Iterator[Setting]:
    """By PyTorch's names."""
    known = {"lr": "learning_rate", "alpha": "rho", "eps": "epsilon"}
    theirs = {name: config.get(known.get(name, name)) for name in group}
    if "beta_1" in config:
        theirs["betas"] = (config["beta_1"], config["beta_2"])
    for name in ("lr", "momentum", "betas", "alpha", "eps", "weight_decay", "nesterov", "centered"):
        if name in group and (theirs[name] is not None or name == "weight_decay"):
            yield Setting(name, group[name], theirs[name] or (0.0 if name == "weight_decay" else theirs[name]))


def _two_steps(pair: Pair, make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> float:
    """The difference of the weights after two steps of both optimizers, on Keras's gradients."""
    side, keras = pair.torch[pair.exact], pair.keras[pair.exact]
    side.reset()
    keras.reset()
    side.take(make)
    for batch in (*pair.port.keras_batches[:2], pair.port.keras_batches[0])[:2]:
        gradients = keras.gradients(batch)[1]
        mapped = pair.match.to_torch(gradients)
        side.update(mapped)
        keras.update(gradients)
    states = pair.states(pair.exact)
    trained = [n for n, p in side.network.named_parameters() if p.requires_grad and n in states[0].keys() & mapped]
    left = max((relative(states[0][name], states[1][name]) for name in trained), default=0.0)
    side.reset()
    return left


MOVED = 1e-6
"""Relative difference of moving statistics after a step that counts as none: float32 rounds them."""


def bad_statistics(pair: Pair) -> list[Culprit]:
    """The batch norms whose statistics move otherwise, each by itself on PyTorch's input."""
    found = []
    modules = dict(pair.torch[pair.exact].network.named_modules())
    for matched in pair.match.pairs:
        ours, theirs = pair.match.torch_calls[matched.torch], pair.match.keras_calls[matched.keras]
        module, layer = modules.get(ours.name), theirs.layer
        if not isinstance(module, nn.modules.batchnorm._BatchNorm) or module.momentum is None or ours.given is None:
            continue
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        given, wanted = ordered(ours.given, matched.order), float(np.round(1 - layer.momentum, 12))
        moved = _moved_keras(layer, given)
        difference, left = (_apart_after(module, momentum, given, moved) for momentum in (module.momentum, wanted))
        if difference > MOVED:
            repairs = [Repair(f"{path(ours.name)}.momentum = {wanted}", left)] if left <= MOVED else []
            settings = [Setting("momentum", module.momentum, wanted)]
            found.append(Culprit(ours.name, difference, "the moving statistics differ after a step", settings, repairs))
    return found


def _moved_keras(layer: keras.Layer, given: NDArray) -> tuple[NDArray, NDArray]:
    before = layer.get_weights()
    layer(given, training=True)
    moved = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    layer.set_weights(before)
    return moved


def _apart_after(module: nn.Module, momentum: float, given: NDArray, moved: tuple[NDArray, NDArray]) -> float:
    changed: Any = copy.deepcopy(module).cpu().train()
    changed.momentum = momentum
    turned = np.moveaxis(given, -1, 1) if given.ndim > 2 else given
    with torch.no_grad():
        changed(torch.from_numpy(np.ascontiguousarray(turned)))
    return max(relative(a.numpy(), b) for a, b in zip((changed.running_mean, changed.running_var), moved, strict=True))
