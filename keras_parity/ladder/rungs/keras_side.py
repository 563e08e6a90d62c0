"""The Keras side of a ladder: a copy of the user's model in one precision, and its training steps."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.capture.calls import Call
from keras_parity.ladder.capture.keras_calls import record_keras
from keras_parity.ladder.capture.keras_graph import keras_paths
from keras_parity.ladder.judge.nests import Arrays, count_samples, map_nest, slice_samples, to_keras_inputs
from keras_parity.ladder.matching.arrays import variable_name
from keras_parity.ladder.rungs.port import Batch, Port
from keras_parity.twin.dtypes import copy_in, in_dtype
from keras_parity.twin.engines import ENGINE


class KerasSide:
    """A copy of a port's Keras model in one precision, or the model itself if ``port.in_place``.

    Args:
        port: The port.
        dtype: ``"float32"`` or ``"float64"``.

    Attributes:
        model: The model.
        optimizer: Its optimizer.
    """

    def __init__(self, port: Port, dtype: str) -> None:
        with in_dtype(dtype):
            if port.in_place:
                self.model = port.model
                self.model(_feed(port.keras_batches[0][0], dtype))
            else:
                self.model = copy_in(port.model, dtype, _feed(port.keras_batches[0][0], dtype))
            # Names come from the original: a copy of a subclassed model numbers its layers differently.
            names = [variable_name(port.model, variable) for variable in port.model.variables]
            self._names = dict(zip(map(id, self.model.variables), names, strict=True))
            self.optimizer = port.keras_optimizer()
            self.optimizer.build(self.model.trainable_variables)
            self._variables = [*self.model.variables, *self.optimizer.variables]
            self._start = [(v, v.numpy()) for v in self._variables]
        self.dtype, self.loss = dtype, port.keras_loss
        self._outputs = ENGINE.compiled(lambda inputs: self.model(inputs, training=False), self.model.variables)
        self._gradients = ENGINE.compiled(self._traced_gradients, self.model.variables)
        self.ignore(set())

    def ignore(self, idle: set[str]) -> None:
        """Sets the gradients of named parameters to 0 from now on."""
        self._idle = idle
        self._step = ENGINE.compiled(self._traced_step, self._variables)

    def within(self) -> AbstractContextManager[None]:
        """Lets Keras compute in the side's precision inside the context."""
        return in_dtype(self.dtype) if self.dtype == "float64" else nullcontext()

    def reset(self) -> None:
        """Returns to the initial weights and optimizer state, without retracing."""
        with self.within():
            for variable, value in self._start:
                variable.assign(value)

    def load(self, weights: Mapping[str, NDArray]) -> None:
        """Copies arrays by ``"layer/kernel"`` into the model."""
        with self.within():
            for name, variable in self._named(self.model.weights).items():
                if name in weights:
                    variable.assign(weights[name])

    def state(self) -> Arrays:
        """Returns the model's weights and statistics by ``"layer/kernel"``."""
        return {name: variable.numpy() for name, variable in self._named(self.model.weights).items()}

    def gradients(self, batch: Batch) -> tuple[float, Arrays]:
        """Returns the loss of a batch [] and the gradient of every trained array."""
        with self.within():
            loss, gradients = self._gradients(*self._tensors(batch))
            return float(loss), {n: keras.ops.convert_to_numpy(g) for n, g in self._without_idle(gradients).items()}

    def step(self, batch: Batch) -> float:
        """Takes one optimizer step; returns the loss before it."""
        with self.within():
            return float(self._step(*self._tensors(batch)))

    def update(self, gradients: Arrays) -> None:
        """Takes one optimizer step with given gradients."""
        variables = {name: v for name, v in self._named(self.model.trainable_variables).items() if name in gradients}
        with self.within():
            given = [keras.ops.convert_to_tensor(gradients[name]) for name in variables]
            self.optimizer.apply(given, list(variables.values()))

    def record(self, batch: Batch, training: bool = False) -> list[Call]:
        """Records the calls of one run; in training mode with the gradients of their outputs."""
        with self.within():
            labels = self.feed(batch[1]) if training else None
            loss = (lambda output: self.loss(labels, output)) if training else None
            return record_keras(self.model, self._names, self.feed(batch[0]), loss, training)

    def paths(self, batch: Batch) -> list[tuple[Any, Any]]:
        """Returns ``parents`` and ``between`` of each call of ``record``."""
        with self.within():
            return keras_paths(self.model, self._names, self.feed(batch[0]))

    def outputs(self, inputs: Any) -> NDArray:
        """Returns the model's output in inference mode, computed in batches of 1,000."""
        with self.within():
            starts = range(0, count_samples(inputs), 1000)
            batches = (self.feed(slice_samples(inputs, start, start + 1000)) for start in starts)
            return np.concatenate([keras.ops.convert_to_numpy(self._outputs(batch)) for batch in batches])

    def value(self, outputs: NDArray, labels: NDArray) -> float:
        """Returns the loss [] of given outputs, in the side's precision."""
        with self.within():
            return float(self.loss(self.feed(labels), self.feed(outputs)))

    def feed(self, inputs: Any) -> Any:
        """Converts inputs or labels to tensors in the side's precision."""
        return _feed(inputs, self.dtype)

    def _named(self, variables: Sequence[keras.Variable]) -> dict[str, keras.Variable]:
        return {self._names[id(variable)]: variable for variable in variables}

    def _tensors(self, batch: Batch) -> tuple[Any, Any]:
        return self.feed(batch[0]), self.feed(batch[1])

    def _traced_gradients(self, inputs: Any, labels: Any) -> tuple[Any, dict[str, Any]]:
        variables = self._named(self.model.trainable_variables)
        loss, found = ENGINE.gradients(
            lambda: self.loss(labels, self.model(inputs, training=True)),
            list(variables.values()),
            self.model.non_trainable_variables,
        )
        return loss, {name: gradient for name, gradient in zip(variables, found, strict=True) if gradient is not None}

    def _without_idle(self, gradients: dict[str, Any]) -> dict[str, Any]:
        return {name: keras.ops.zeros_like(g) if name in self._idle else g for name, g in gradients.items()}

    def _traced_step(self, inputs: Any, labels: Any) -> Any:
        loss, found = self._traced_gradients(inputs, labels)
        variables, gradients = self._named(self.model.trainable_variables), self._without_idle(found)
        self.optimizer.apply(list(gradients.values()), [variables[name] for name in gradients])
        return loss


def _feed(inputs: Any, dtype: str) -> Any:
    own = lambda array: array.astype(dtype) if array.dtype.kind == "f" else array  # noqa: E731
    return to_keras_inputs(map_nest(lambda array: keras.ops.convert_to_tensor(own(array)), inputs))
