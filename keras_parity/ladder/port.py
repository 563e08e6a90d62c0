"""One model in both frameworks, and the steps that the ladder has each of them take."""

import keras_parity.both_frameworks  # isort: skip # noqa: F401 - first, see there

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from keras_parity.twin.dtypes import copy_in, in_dtype

Arrays = dict[str, NDArray]
Batch = tuple[NDArray, NDArray]


def mean_cross_entropy(labels: Any, logits: Any) -> Any:
    """Keras's cross-entropy from logits, in nats []; a loss object would compute in the dtype it was made in."""
    return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))


@dataclass(frozen=True)
class Port:
    """A torch module and a Keras model that are meant to be the same, and what is needed to find out.

    Attributes:
        network: From images [batch, channels, height, width] to logits [batch, classes], with its initial weights.
        model: From images [batch, height, width, channels] to the same logits, with its initial weights.
        to_pytorch: Maps Keras's weights, ``{"layer/kernel": array}``, to a state dict, ``{"layer.weight": array}``.
            It may only move elements: gradients go through it too.
        torch_batches: (images float32 as ``network`` takes them, labels int64) of each step.
        keras_batches: (images float32 as ``model`` takes them, labels int64) of each step.
        test: (images as ``model`` takes them, labels) for the evaluation.
        torch_optimizer: Makes the optimizer of a list of parameters.
        keras_optimizer: Makes Keras's.
        layers: Keras layer to the torch module with the same output, or to (module, function of its output); by
            default the modules that bear a Keras layer's name.
        torch_loss: Mean loss [] of logits and labels.
        keras_loss: Mean loss [] of labels and logits.
    """

    network: nn.Module
    model: keras.Model
    to_pytorch: Callable[[Arrays], Arrays]
    torch_batches: Sequence[Batch]
    keras_batches: Sequence[Batch]
    test: Batch
    torch_optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    keras_optimizer: Callable[[], keras.Optimizer]
    layers: Mapping[str, Any] = field(default_factory=dict)
    torch_loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = F.cross_entropy
    keras_loss: Callable[[Any, Any], Any] = mean_cross_entropy


class TorchSide:
    """The torch module of a port in one precision.

    Args:
        port: The port.
        dtype: ``"float32"`` or ``"float64"``.
    """

    def __init__(self, port: Port, dtype: str) -> None:
        self.dtype = getattr(torch, dtype)
        self.loss = port.torch_loss
        self.network = copy.deepcopy(port.network).to(self.dtype)
        self._start, self._make_optimizer = copy.deepcopy(self.network.state_dict()), port.torch_optimizer
        self.reset()

    def reset(self) -> None:
        """Goes back to the initial weights and a new optimizer."""
        self.network.load_state_dict(self._start)
        self.optimizer = self._make_optimizer(list(self.network.parameters()))

    def load(self, state: Arrays) -> None:
        """Copies a state dict of arrays into the network."""
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in state.items()}
        self.network.load_state_dict(tensors)

    def weights(self) -> Arrays:
        """The network's parameters by name."""
        return {name: parameter.detach().numpy().copy() for name, parameter in self.network.named_parameters()}

    def gradients(self, batch: Batch) -> tuple[float, Arrays]:
        """The loss of a batch, and the gradient of every parameter, which stays with it for ``step``."""
        images, labels = batch
        self.optimizer.zero_grad()
        logits = self.network(torch.from_numpy(images).to(self.dtype))
        loss = self.loss(logits, torch.from_numpy(labels))
        loss.backward()
        named = self.network.named_parameters()
        return loss.item(), {name: p.grad.numpy().copy() for name, p in named if p.grad is not None}

    def step(self, batch: Batch) -> float:
        """One optimizer step; gives the loss before it."""
        loss, _ = self.gradients(batch)
        self.optimizer.step()
        return loss

    def update(self, gradients: Arrays) -> None:
        """One optimizer step from gradients that are given."""
        for name, parameter in self.network.named_parameters():
            parameter.grad = torch.from_numpy(np.ascontiguousarray(gradients[name]))
        self.optimizer.step()

    def activations(self, images: NDArray, modules: Mapping[str, Any]) -> Arrays:
        """The output of each named module in Keras's order of axes, after its function if it has one."""
        outputs: Arrays = {}
        handles = []
        for layer, wanted in modules.items():
            name, function = wanted if isinstance(wanted, tuple) else (wanted, lambda output: output)

            def keep(_: Any, __: Any, output: torch.Tensor, layer: str = layer, f: Any = function) -> None:
                array = f(output).numpy()
                outputs[layer] = array.transpose(0, 2, 3, 1) if array.ndim == 4 else array

            handles.append(self.network.get_submodule(name).register_forward_hook(keep))
        with torch.no_grad():
            self.network(torch.from_numpy(images).to(self.dtype))
        for handle in handles:
            handle.remove()
        return outputs

    def logits(self, images: NDArray) -> NDArray:
        """Logits of images, in batches of 1,000."""
        with torch.no_grad():
            batches = torch.from_numpy(images).to(self.dtype).split(1000)
            return torch.cat([self.network(batch) for batch in batches]).numpy()


class KerasSide:
    """The Keras model of a port in one precision; arguments and methods as in ``TorchSide``."""

    def __init__(self, port: Port, dtype: str) -> None:
        with in_dtype(dtype):
            self.model = copy_in(port.model, dtype)
            self.optimizer = port.keras_optimizer()
            self.optimizer.build(self.model.trainable_variables)
        self._start = [(v, v.numpy()) for v in (*self.model.variables, *self.optimizer.variables)]
        self.dtype, self.loss = dtype, port.keras_loss
        self._gradients = tf.function(self._traced_gradients, reduce_retracing=True)
        self._step = tf.function(self._traced_step, reduce_retracing=True)
        self._logits = tf.function(lambda images: self.model(images, training=False), reduce_retracing=True)

    def reset(self) -> None:
        """Goes back to the initial weights and a new optimizer's state, without tracing anew."""
        for variable, value in self._start:
            variable.assign(value)

    def load(self, weights: Arrays) -> None:
        """Copies arrays by ``"layer/kernel"`` into the model."""
        for name, variable in self._variables().items():
            variable.assign(weights[name])

    def weights(self) -> Arrays:
        """The model's trained arrays by ``"layer/kernel"``."""
        return {name: variable.numpy() for name, variable in self._variables().items()}

    def gradients(self, batch: Batch) -> tuple[float, Arrays]:
        """The loss of a batch, and the gradient of every trained array."""
        loss, gradients = self._gradients(*self._tensors(batch))
        return float(loss), {name: g.numpy() for name, g in zip(self._variables(), gradients, strict=True)}

    def step(self, batch: Batch) -> float:
        """One optimizer step; gives the loss before it."""
        return float(self._step(*self._tensors(batch)))

    def update(self, gradients: Arrays) -> None:
        """One optimizer step from gradients that are given."""
        variables = self._variables()
        self.optimizer.apply([tf.constant(gradients[name]) for name in variables], list(variables.values()))

    def activations(self, images: NDArray, layers: Sequence[str]) -> Arrays:
        """The output of each named layer."""
        outputs = [self.model.get_layer(name).output for name in layers]
        probe = keras.Model(self.model.inputs, outputs)
        return {n: o.numpy() for n, o in zip(layers, probe([images.astype(self.dtype)]), strict=True)}

    def logits(self, images: NDArray) -> NDArray:
        """Logits of images, in batches of 1,000."""
        starts = range(0, len(images), 1000)
        return np.concatenate([self._logits(images[s : s + 1000].astype(self.dtype)).numpy() for s in starts])

    def _variables(self) -> dict[str, keras.Variable]:
        # By path, since the arrays of nested layers share their layer's name and their own.
        return {v.path.removeprefix(f"{self.model.name}/"): v for v in self.model.trainable_variables}

    def _tensors(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.constant(batch[0].astype(self.dtype)), tf.constant(batch[1])

    def _traced_gradients(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            loss = self.loss(labels, self.model(images, training=True))
        return loss, tape.gradient(loss, [variable.value for variable in self._variables().values()])

    def _traced_step(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        loss, gradients = self._traced_gradients(images, labels)
        self.optimizer.apply(gradients, list(self._variables().values()))
        return loss
