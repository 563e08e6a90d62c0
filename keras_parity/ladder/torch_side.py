"""The PyTorch side of a ladder: a copy of the user's module, in one precision, and the steps that it takes."""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

import copy
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torchvision.ops import StochasticDepth

from cnn_mnist.pytorch.keras_layers import MaskedDropout, rounded_constants, with_biased_variance
from keras_parity.ladder.calls import Call, first_tensor
from keras_parity.ladder.port import Arrays, Batch, Port, as_tuple
from keras_parity.ladder.torch_calls import record_torch


class TorchSide:
    """A copy of the torch module of a port in one precision; the user's own is not touched.

    What is known to differ between the frameworks is settled in the copy: dropouts whose masks are not shared drop
    nothing, the moving variance of a batch norm takes the variance of the batch itself as Keras's does, and the second
    bias of a recurrent layer, which Keras adds to the first, stays as it is.

    Args:
        port: The port.
        dtype: ``"float32"`` or ``"float64"``.

    Attributes:
        idle: The parameters whose gradient is 0 but for rounding; see ``Pair``.
        rates: Keras's learning rate of each step, where it has a schedule; see ``Pair``.
    """

    def __init__(self, port: Port, dtype: str) -> None:
        self.dtype, self.loss = getattr(torch, dtype), port.torch_loss
        self.idle: set[str] = set()
        self.device, self._make_schedule = port.device, port.torch_schedule
        self.rates: list[float] = []
        self.network = copy.deepcopy(port.network).to(self.device, self.dtype)
        for module in self.network.modules():
            _settle(module)
        self._start, self._make_optimizer = copy.deepcopy(self.network.state_dict()), port.torch_optimizer
        self.reset()

    def reset(self) -> None:
        """Goes back to the initial weights and a new optimizer."""
        self.network.load_state_dict(self._start)
        self.take(self._make_optimizer)

    def take(self, make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> None:
        """Begins with a new optimizer, which takes Keras's rates where there are some."""
        self.optimizer = make([p for p in self.network.parameters() if p.requires_grad])
        self._steps = 0

    def scheduled(self, steps: int) -> list[float]:
        """The learning rates of that many steps of a new optimizer under the user's schedule."""
        trained = [p for p in copy.deepcopy(self.network).parameters() if p.requires_grad]
        optimizer, rates = self._make_optimizer(trained), []
        schedule = self._make_schedule(optimizer) if self._make_schedule is not None else None
        for _ in range(steps):
            rates.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()  # on no gradient
            if schedule is not None:
                schedule.step()
        return rates

    def _step(self) -> None:
        for group in self.optimizer.param_groups if self.rates else ():
            group["lr"] = self.rates[min(self._steps, len(self.rates) - 1)]
        self.optimizer.step()
        self._steps += 1

    def begin(self, state: Mapping[str, NDArray]) -> None:
        """Takes arrays by name for its initial weights."""
        self.load(state)
        self._start = copy.deepcopy(self.network.state_dict())

    def load(self, state: Mapping[str, NDArray]) -> None:
        """Copies arrays by name into the network."""
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in state.items()}
        self.network.load_state_dict(self.network.state_dict() | tensors)

    def state(self) -> Arrays:
        """The network's parameters and floating statistics by name."""
        tensors = self.network.state_dict().items()
        return {name: tensor.cpu().numpy().copy() for name, tensor in tensors if tensor.is_floating_point()}

    def _run(self, *tensors: torch.Tensor) -> torch.Tensor:
        with rounded_constants():
            return first_tensor(self.network(*tensors))

    def gradients(self, batch: Batch) -> tuple[float, Arrays]:
        """The loss of a batch, and the gradient of every trained parameter, which stays with it for the optimizer."""
        self.optimizer.zero_grad()
        self.network.train()
        loss = self.loss(self._run(*self._tensors(batch[0])), self._tensors(batch[1])[0])
        loss.backward()
        found = {}
        for name, parameter in self.network.named_parameters():
            if parameter.grad is not None:
                parameter.grad *= name not in self.idle
                found[name] = parameter.grad.cpu().numpy().copy()
        return loss.item(), found

    def step(self, batch: Batch) -> float:
        """One optimizer step; gives the loss before it."""
        loss, _ = self.gradients(batch)
        self._step()
        return loss

    def update(self, gradients: Arrays) -> None:
        """One optimizer step from gradients that are given."""
        for name, parameter in self.network.named_parameters():
            if name in gradients and parameter.requires_grad:
                parameter.grad = torch.from_numpy(np.array(gradients[name])).to(self.device)
        self._step()

    def record(self, batch: Batch, training: bool = False) -> list[Call]:
        """The calls of one run; in training with the gradients of what they gave."""
        self.network.train(training)
        labels = self._tensors(batch[1])[0]
        loss = (lambda output: self.loss(output, labels)) if training else None
        with rounded_constants():
            return record_torch(self.network, self._tensors(batch[0]), loss)

    def outputs(self, inputs: Any) -> NDArray:
        """The network's output, in batches of 1,000, in inference."""
        with torch.no_grad():
            tensors = [tensor.split(1000) for tensor in self._tensors(inputs)]
            self.network.eval()
            return torch.cat([self._run(*batch) for batch in zip(*tensors, strict=True)]).cpu().numpy()

    def value(self, outputs: NDArray, labels: NDArray) -> float:
        """The loss of outputs that are given, in the side's precision."""
        return self.loss(torch.from_numpy(outputs).to(self.device, self.dtype), self._tensors(labels)[0]).item()

    def _tensors(self, inputs: Any) -> tuple[torch.Tensor, ...]:
        tensors = (torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in as_tuple(inputs))
        return tuple(tensor.to(self.dtype) if tensor.is_floating_point() else tensor for tensor in tensors)


def _settle(module: Any) -> None:
    if getattr(module, "inplace", False):
        module.inplace = False  # what a call gave would change behind it
    if isinstance(module, nn.modules.dropout._DropoutNd) and not isinstance(module, MaskedDropout):
        module.p = 0.0
    elif isinstance(module, nn.MultiheadAttention):
        module.dropout = 0.0
    elif isinstance(module, StochasticDepth):
        module.p = 0.0
    elif type(module) in (nn.BatchNorm1d, nn.BatchNorm2d) and module.momentum is not None:
        with_biased_variance(module)
    elif isinstance(module, (nn.LSTM, nn.GRU)):
        module.dropout = 0.0
        if isinstance(module, nn.LSTM) and module.bias:
            module.bias_hh_l0.requires_grad_(False)
