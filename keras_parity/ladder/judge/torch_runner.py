"""The user's PyTorch model, run in place as PyTorch runs it, with every bit put back afterwards."""

import copy
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from keras_parity.ladder.judge.nests import call_torch, leaves, map_nest, to_arrays, with_c_strides
from keras_parity.ladder.judge.torch_training import TorchTraining


class TorchRunner:
    """Runs a module and its training in place.

    Modules whose output in training mode is random run as in inference; a batch norm's moving variance takes the
    variance of the batch itself, as Keras's does, since no setting of PyTorch's says so.

    Args:
        model: The user's.
        training: How it is trained; None where it is not.
        inputs: A batch, as the model takes it.

    Attributes:
        random: The modules that are random in training.
        norms: The batch norms.
    """

    framework = "PyTorch"

    def __init__(self, model: nn.Module, training: TorchTraining | None, inputs: Any) -> None:
        self.model, self.training, self.dtype = model, training, torch.float32
        self._parts = [model, *(training.parts if training else [])]
        first = next(model.parameters(), None)
        self.device = first.device if first is not None else torch.device("cpu")
        self._modules = list(dict.fromkeys(module for part in self._parts for module in part.modules()))
        self._modes = [(module, module.training) for module in self._modules]
        self._random_state = torch.get_rng_state()
        self._hooks: list[Any] = []
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
            self.outputs(inputs)
        self._save()
        self.norms = [m for m in self._modules if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        try:
            self.random = self._find_random(inputs) if training else []
            for module in self.random:
                self._hooks.append(module.register_forward_pre_hook(_evaluate))
            for module in self.norms:
                self._hooks += _biased_variance(module)
        except BaseException:
            self.restore()
            raise

    def _tensors(self) -> dict[int, torch.Tensor]:
        found = [tensor for part in self._parts for tensor in (*part.parameters(), *part.buffers())]
        groups = (g for o in (self.training.optimizers if self.training else []) for g in o.param_groups)
        return {id(tensor): tensor for tensor in (*found, *(p for group in groups for p in group["params"]))}

    def _save(self) -> None:
        self._saved = [(tensor, tensor.detach().clone(), tensor.grad) for tensor in self._tensors().values()]
        stateful: list[Any] = [*self.training.optimizers, *self.training.schedules] if self.training else []
        self._states = [(each, copy.deepcopy(each.state_dict())) for each in stateful]

    def reset(self) -> None:
        """Goes back to the weights, statistics and optimizer state that the user gave."""
        with torch.no_grad():
            for tensor, value, _ in self._saved:
                tensor.grad = None
                wanted = self.dtype if value.is_floating_point() else value.dtype
                if tensor.dtype != wanted:
                    tensor.data = value.to(wanted, copy=True)
                tensor.copy_(value)
        for each, state in self._states:
            each.load_state_dict(copy.deepcopy(state))
        if self.training:
            self.training.begin()

    def restore(self) -> None:
        """Puts everything back as the user gave it."""
        for hook in self._hooks:
            hook.remove()
        self.dtype = torch.float32
        with torch.no_grad():
            for tensor, value, gradient in self._saved:
                if tensor.dtype != value.dtype:
                    tensor.data = value.clone()
                tensor.copy_(value)
                tensor.grad = gradient
        for each, state in self._states:
            each.load_state_dict(copy.deepcopy(state))
        for module, mode in self._modes:
            module.training = mode
        torch.set_rng_state(self._random_state)

    def nudge(self, random: np.random.Generator, part: float | None) -> None:
        """Moves every weight by one unit in the last place, or by a part of itself, and each constant alike."""
        with torch.no_grad():
            for parameter in self.model.parameters():
                size = np.abs(parameter.cpu().numpy())
                off = (np.spacing(size) if part is None else size * part) * random.choice([-1, 1], size.shape)
                parameter.add_(torch.as_tensor(np.nan_to_num(off), dtype=parameter.dtype, device=parameter.device))
        for optimizer in self.training.optimizers if self.training else []:
            for group in optimizer.param_groups:
                group |= {name: _off(value, random) for name, value in group.items() if name != "params"}
                if isinstance(group.get("betas"), tuple):  # Keras rounds 1 - beta_2 ** step through float32
                    group["lr"] *= 1 + random.choice([-6e-8, 6e-8]) / max(1 - group["betas"][1], 1e-6) / 16

    def feed(self, nest: Any) -> Any:
        """Arrays as tensors of the model's device and precision, with PyTorch's own strides."""

        def one(array: NDArray) -> torch.Tensor:
            tensor = torch.tensor(with_c_strides(array), device=self.device)
            return tensor.to(self.dtype) if tensor.is_floating_point() else tensor

        return map_nest(one, nest)

    def outputs(self, inputs: Any, like: Any = None) -> list[NDArray]:
        """What the model gives in inference mode."""
        self.model.eval()
        with torch.no_grad():
            return to_arrays(call_torch(self.model, self.feed(inputs)), like)

    def step(self, inputs: Any, labels: Any) -> float:
        """One step of the user's training; gives the loss before it."""
        assert self.training is not None
        self.model.train()
        value = self.training.step(self.feed(inputs), self.feed(labels) if labels is not None else None)
        value = value.get("loss") if isinstance(value, dict) else value
        return value.item() if isinstance(value, torch.Tensor) else math.nan if value is None else float(value)

    def weights(self) -> dict[str, NDArray]:
        """The trained weights by name."""
        return {name: p.detach().cpu().numpy().copy() for name, p in self.model.named_parameters() if p.requires_grad}

    def _find_random(self, inputs: Any) -> list[nn.Module]:
        """The modules whose output in training mode changes from run to run, given the same input."""
        record: list[list[torch.Tensor]] = []
        found: dict[nn.Module, None] = {}
        place = 0

        def keep(module: nn.Module, args: Any, output: Any) -> Any:
            nonlocal place
            tensors = [t.detach().clone() for t in leaves(output) if isinstance(t, torch.Tensor)]
            place += 1
            if place > len(record):
                return record.append(tensors)
            first = record[place - 1]
            if len(first) == len(tensors) and all(torch.equal(a, b) for a, b in zip(first, tensors, strict=True)):
                return None
            found[module] = None
            given = iter(first)
            return map_nest(lambda t: next(given, t) if isinstance(t, torch.Tensor) else t, output)

        hooks = [module.register_forward_hook(keep) for module in self.model.modules()]
        try:
            for seed in (0, 1):
                self.reset()
                self.model.train()
                torch.manual_seed(seed)
                place = 0
                with torch.no_grad():
                    call_torch(self.model, self.feed(inputs))
                record = record[:place]
        finally:
            for hook in hooks:
                hook.remove()
            self.reset()
        return list(found)


def _evaluate(module: nn.Module, args: Any) -> None:
    module.training = False


def _biased_variance(module: Any) -> Iterable[Any]:
    """Has a batch norm put the batch's variance over n into its moving variance, where PyTorch's is over n - 1."""
    before: list[torch.Tensor] = []

    def keep(_: Any, args: Any) -> None:
        if module.training and module.running_var is not None:
            before[:] = [module.running_var.clone()]

    def correct(_: Any, args: Any, output: torch.Tensor) -> None:
        if not (module.training and before):
            return
        given = args[0].detach()
        part = module.momentum if module.momentum is not None else 1 / float(module.num_batches_tracked)
        variance = given.var([axis for axis in range(given.ndim) if axis != 1], correction=0)
        kept, count = before.pop() * (1 - part), given.numel() / given.shape[1]
        taken = (module.running_var - kept) / part
        unbiased = variance * count / max(count - 1, 1)
        if (taken - unbiased).abs().sum() < (taken - variance).abs().sum():  # else the module does so by itself
            # Past autograd, which has kept it for the backward pass though that does not use it.
            module.running_var.data.copy_(kept + part * variance)

    return module.register_forward_pre_hook(keep), module.register_forward_hook(correct)


def _off(value: Any, random: np.random.Generator) -> Any:
    """A constant, or several, as a rounding through float32 may change it."""
    if isinstance(value, (tuple, list)):
        return type(value)(_off(inner, random) for inner in value)
    return value * (1 + random.choice([-6e-8, 6e-8])) if isinstance(value, float) else value
