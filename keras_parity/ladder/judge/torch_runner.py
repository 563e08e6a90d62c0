"""Runs the user's PyTorch model in place, as PyTorch runs it, and restores every bit afterwards."""

import copy
import math
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.judge.nests import call_torch, leaves, map_nest, to_arrays, to_tensors
from keras_parity.ladder.judge.snapshots import in_dtype, optimizer_snapshot, snapshot
from keras_parity.ladder.judge.torch_training import TorchTraining, use_biased_variance


class TorchRunner:
    """Runs a module and trains it in place.

    Modules whose training output is random run in inference mode. A batch norm updates its moving variance with the
    biased variance of the batch, as Keras's does; PyTorch has no setting for it.

    Args:
        model: The user's module.
        training: How it trains; None for inference only.
        inputs: One batch, as the model takes it.

    Attributes:
        random: The modules whose training output is random.
        norms: The batch norms.
    """

    framework = "PyTorch"

    def __init__(self, model: nn.Module, training: TorchTraining | None, inputs: Any) -> None:
        self.model, self.training, self.dtype = model, training, torch.float32
        self._parts = [model, *(training.parts if training else [])]
        first = next(model.parameters(), None)
        self.device = first.device if first is not None else torch.device("cpu")
        self._modules = list(dict.fromkeys(module for part in self._parts for module in part.modules()))
        self._restores = [snapshot(module) for module in self._modules]
        self._restores += [partial(setattr, module, "training", module.training) for module in self._modules]
        self._ends = [optimizer_snapshot(optimizer) for optimizer in (training.optimizers if training else [])]
        self._random_state = torch.get_rng_state()
        self._save()
        self.norms = [m for m in self._modules if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        try:
            self.random = self._find_random(inputs) if training else []
            for module in self.random:
                module.register_forward_pre_hook(_force_inference)
            for module in self.norms:
                use_biased_variance(module)
        except BaseException:
            self.restore()
            raise

    def _tensors(self) -> dict[int, torch.Tensor]:
        found = [tensor for part in self._parts for tensor in (*part.parameters(), *part.buffers())]
        groups = (g for o in (self.training.optimizers if self.training else []) for g in o.param_groups)
        return {id(tensor): tensor for tensor in (*found, *(p for group in groups for p in group["params"]))}

    def _save(self) -> None:
        self._saved = [
            (tensor, tensor.data, tensor.detach().clone(), tensor.grad) for tensor in self._tensors().values()
        ]
        stateful: list[Any] = [*self.training.optimizers, *self.training.schedules] if self.training else []
        self._states = [(each, copy.deepcopy(each.state_dict())) for each in stateful]

    def reset(self) -> None:
        """Restores the user's weights, statistics and optimizer state in ``dtype``, to run again."""
        self._load(self.dtype)
        if self.training:
            self.training.start()

    def _load(self, dtype: torch.dtype | None) -> None:
        """Loads what was saved; floats in ``dtype``, or in their own precision for None."""
        with torch.no_grad():
            storages: dict[int, torch.Tensor] = {}
            for tensor, data, value, _ in self._saved:
                tensor.grad = None
                wanted = dtype if dtype and value.is_floating_point() else value.dtype
                if tensor.dtype != wanted:
                    tensor.data = data if data.dtype == wanted else in_dtype(data, wanted, storages)
                tensor.copy_(value)
        for each, state in self._states:
            each.load_state_dict(copy.deepcopy(state))

    def restore(self) -> None:
        """Restores the user's objects completely; the runner is done."""
        for restore in self._restores:
            restore()
        self._load(None)
        for end in (*self._ends, *([self.training.end] if self.training else [])):
            end()
        for tensor, _, _, gradient in self._saved:
            tensor.grad = gradient
        torch.set_rng_state(self._random_state)

    def perturb(self, random: np.random.Generator, fraction: float | None) -> None:
        """Moves weights by one unit in the last place, or by a fraction of their value, and optimizer constants too."""
        with torch.no_grad():
            for parameter in self.model.parameters():
                size = np.abs(parameter.cpu().numpy())
                move = (np.spacing(size) if fraction is None else size * fraction) * random.choice([-1, 1], size.shape)
                parameter.add_(torch.as_tensor(np.nan_to_num(move), dtype=parameter.dtype, device=parameter.device))
        for optimizer in self.training.optimizers if self.training else []:
            for group in optimizer.param_groups:
                group |= {name: _perturbed(value, random) for name, value in group.items() if name != "params"}
                if isinstance(group.get("betas"), tuple):  # Keras rounds 1 - beta_2 ** step through float32
                    group["lr"] *= 1 + random.choice([-6e-8, 6e-8]) / max(1 - group["betas"][1], 1e-6) / 16

    def feed(self, nest: Any) -> Any:
        """Converts arrays to tensors of the model's device and precision."""
        return to_tensors(nest, self.device, self.dtype)

    def outputs(self, inputs: Any, like: Any = None, training: bool = False) -> list[NDArray]:
        """Returns the outputs in inference or training mode; see ``to_arrays`` for ``like``."""
        self.model.train(training)
        with torch.no_grad():
            return to_arrays(call_torch(self.model, self.feed(inputs)), like)

    def step(self, inputs: Any, labels: Any) -> float:
        """Takes one step of the user's training; returns the loss before it."""
        assert self.training is not None
        self.model.train()
        value = self.training.step(self.feed(inputs), self.feed(labels) if labels is not None else None)
        value = value.get("loss") if isinstance(value, dict) else value
        return value.item() if isinstance(value, torch.Tensor) else math.nan if value is None else float(value)

    def _find_random(self, inputs: Any) -> list[nn.Module]:
        """Finds the modules whose training output changes from run to run, given the same input.

        Where the input of a module changes, the module that calls it draws random numbers in its own ``forward``.
        """
        record: list[tuple[list[torch.Tensor], list[torch.Tensor]]] = []
        found: dict[nn.Module, None] = {}
        running: list[tuple[nn.Module, list[torch.Tensor]]] = []
        place = 0

        def enter(module: nn.Module, args: Any) -> None:
            running.append((module, _copies(args)))

        def compare(module: nn.Module, args: Any, output: Any) -> Any:
            nonlocal place
            (_, fed), tensors = running.pop(), _copies(output)
            place += 1
            if place > len(record):
                return record.append((fed, tensors))
            first_fed, first = record[place - 1]
            same_input = _all_equal(first_fed, fed)
            if same_input and _all_equal(first, tensors):
                return None
            found[module if same_input or not running else running[-1][0]] = None
            recorded = iter(first)  # so that later modules get the same input in every run
            return map_nest(lambda t: next(recorded, t) if isinstance(t, torch.Tensor) else t, output)

        modules = [m for m in self.model.modules() if not isinstance(m, torch.jit.ScriptModule)]  # it takes no hooks
        hooks = [module.register_forward_pre_hook(enter) for module in modules]
        hooks += [module.register_forward_hook(compare) for module in modules]
        try:
            for seed in (0, 1):
                self.reset()
                self.model.train()
                torch.manual_seed(seed)
                place = 0
                with torch.no_grad():
                    call_torch(self.model, self.feed(inputs))
                record = record[:place]
        except Exception:  # raised by the user's model; the first step raises and names it again
            return []
        finally:
            for hook in hooks:
                hook.remove()
            self.reset()
        return list(found)


def _copies(nest: Any) -> list[torch.Tensor]:
    return [tensor.detach().clone() for tensor in leaves(nest) if isinstance(tensor, torch.Tensor)]


def _all_equal(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return len(some) == len(others) and all(map(_equal, some, others))


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors hold the same values and NaN in the same places."""
    return torch.equal(a, b) or (torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num()))


def _force_inference(module: nn.Module, args: Any) -> None:
    module.training = False


def _perturbed(value: Any, random: np.random.Generator) -> Any:
    """Perturbs a constant, or several, as rounding through float32 would."""
    if isinstance(value, (tuple, list)):
        return type(value)(_perturbed(inner, random) for inner in value)
    return value * (1 + random.choice([-6e-8, 6e-8])) if isinstance(value, float) else value
