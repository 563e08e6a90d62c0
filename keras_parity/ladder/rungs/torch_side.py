"""The PyTorch side of a ladder: a copy of the user's module in one precision, and its training steps."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cnn_mnist.pytorch.keras_layers import rounded_constants
from keras_parity.ladder.capture.calls import Call, first_tensor
from keras_parity.ladder.capture.torch_calls import record_torch
from keras_parity.ladder.judge.nests import Arrays, call_torch, count_samples, slice_samples, to_tensors
from keras_parity.ladder.matching.match_weights import torch_state
from keras_parity.ladder.rungs.port import Batch, Port


class TorchSide:
    """A copy of a port's torch module in one precision.

    Args:
        port: The port.
        dtype: ``"float32"`` or ``"float64"``.

    Attributes:
        network: The module.
        optimizer: Its optimizer.
        idle: Names of parameters whose gradient is set to 0.
    """

    def __init__(self, port: Port, dtype: str) -> None:
        self.dtype, self.loss = getattr(torch, dtype), port.torch_loss
        self.idle: set[str] = set()
        self.device = port.device
        self.network = copy.deepcopy(port.network).to(self.device, self.dtype)
        for module in self.network.modules():
            if hasattr(module, "inplace"):
                setattr(module, "inplace", False)  # noqa: B010 - it would overwrite the output of the call before
        self._start, self._make_optimizer = copy.deepcopy(self.network.state_dict()), port.torch_optimizer
        self.reset()

    def reset(self) -> None:
        """Returns to the initial weights and a new optimizer."""
        self.network.load_state_dict(self._start)
        self.optimizer = self._make_optimizer([p for p in self.network.parameters() if p.requires_grad])

    def load(self, state: Mapping[str, NDArray]) -> None:
        """Copies arrays by name into the network."""
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in state.items()}
        self.network.load_state_dict(self.network.state_dict() | tensors)

    def state(self) -> Arrays:
        """Returns the network's parameters and floating-point buffers by name."""
        return torch_state(self.network)

    def _run(self, inputs: Any) -> torch.Tensor:
        with rounded_constants():
            return first_tensor(call_torch(self.network, inputs))

    def gradients(self, batch: Batch) -> tuple[float, Arrays]:
        """Returns the loss of a batch [] and the gradient of every trained parameter; keeps them for the optimizer."""
        self.optimizer.zero_grad()
        self.network.train()
        loss = self.loss(self._run(self._tensors(batch[0])), self._tensors(batch[1]))
        loss.backward()
        found = {}
        for name, parameter in self.network.named_parameters():
            if parameter.grad is not None:
                parameter.grad *= name not in self.idle
                found[name] = parameter.grad.cpu().numpy().copy()
        return loss.item(), found

    def step(self, batch: Batch) -> float:
        """Takes one optimizer step; returns the loss before it."""
        loss, _ = self.gradients(batch)
        self.optimizer.step()
        return loss

    def update(self, gradients: Arrays) -> None:
        """Takes one optimizer step with given gradients."""
        for name, parameter in self.network.named_parameters():
            if name in gradients and parameter.requires_grad:
                parameter.grad = torch.from_numpy(np.array(gradients[name])).to(self.device)
        self.optimizer.step()

    def record(self, batch: Batch, training: bool = False) -> list[Call]:
        """Records the calls of one run; in training mode with the gradients of their outputs."""
        self.network.train(training)
        labels: Any = self._tensors(batch[1]) if training else None
        loss = (lambda output: self.loss(output, labels)) if training else None
        with rounded_constants():
            return record_torch(self.network, self._tensors(batch[0]), loss)

    def outputs(self, inputs: Any) -> NDArray:
        """Returns the network's output in inference mode, computed in batches of 1,000."""
        with torch.no_grad():
            self.network.eval()
            starts = range(0, count_samples(inputs), 1000)
            batches = (self._tensors(slice_samples(inputs, start, start + 1000)) for start in starts)
            return torch.cat([self._run(batch) for batch in batches]).cpu().numpy()

    def value(self, outputs: NDArray, labels: NDArray) -> float:
        """Returns the loss [] of given outputs, in the side's precision."""
        return self.loss(torch.from_numpy(outputs).to(self.device, self.dtype), self._tensors(labels)).item()

    def _tensors(self, inputs: Any) -> Any:
        return to_tensors(inputs, self.device, self.dtype)
