"""The user's Keras model, run in place as Keras runs it, with every bit put back afterwards."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.judge.nests import to_arrays
from keras_parity.ladder.judge.snapshots import snapshot


@dataclass
class KerasTraining:
    """How the model is trained.

    Attributes:
        optimizer: Keras's.
        loss: What ``compile`` takes, or a function of (labels, outputs) that gives their mean loss.
        direct: Whether ``loss`` is such a function, of all outputs at once; what the model adds itself is kept.
        words: What else ``compile`` takes.
        compiled: Whether the model is compiled so already, and stays so.
    """

    optimizer: keras.Optimizer
    loss: Any
    direct: bool = False
    words: Mapping[str, Any] | None = None
    compiled: bool = False


class KerasRunner:
    """Runs a model and its training in place, by stock ``train_on_batch``.

    Layers that draw random numbers run as in inference.

    Args:
        model: The user's, or a copy of it.
        training: How it is trained; None where it is not.
        inputs: A batch, as the model takes it.
        within: What is entered around each run, as a precision.

    Attributes:
        random: The layers that are random in training.
    """

    framework = "Keras"

    def __init__(
        self,
        model: keras.Model,
        training: KerasTraining | None,
        inputs: Any,
        within: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.model, self.training, self.within = model, training, within
        self._kept = ExitStack()
        with within():
            model(as_given(inputs), training=False)  # builds what is not built
        self.random = [layer for layer in _layers(model) if _draws(layer)] if training else []
        self._kept.callback(self.reset)
        self._saved: list[tuple[keras.Variable, NDArray]] = []
        try:
            self._keep(model, *([training.optimizer] if training else []))
            model.predict_function = None
            if training is not None:
                for layer in self.random:
                    self._evaluate(layer)
                with within():
                    self._compile(training)
            self.save()
        except BaseException:
            self._kept.close()
            raise

    def _keep(self, *objects: Any) -> None:
        for each in objects:
            self._kept.callback(snapshot(each))

    def _compile(self, training: KerasTraining) -> None:
        if training.compiled:
            self.model.train_function = None  # traced before the random layers were evened out
        else:
            loss = None if training.direct else training.loss
            self.model.compile(optimizer=training.optimizer, loss=loss, **training.words or {})
        if training.direct:
            self.model.compute_loss = partial(_mean_loss, self.model, training.loss)
        training.optimizer.build(self.model.trainable_variables)

    def save(self) -> None:
        """Takes the present state for the one to go back to."""
        owners = [self.model, *([self.training.optimizer] if self.training else [])]
        variables = {id(v): v for owner in owners for v in owner.variables}
        self._saved = [(v, keras.ops.convert_to_numpy(v.value).copy()) for v in variables.values()]

    def reset(self) -> None:
        """Goes back to the weights, statistics and optimizer state that the user gave."""
        for variable, value in self._saved:
            variable.assign(value)

    def restore(self) -> None:
        """Puts everything back as the user gave it."""
        self._kept.close()

    def nudge(self, random: np.random.Generator, part: float | None) -> None:
        """Moves every weight by one unit in the last place, or by a part of itself."""
        for variable in self.model.weights:
            if "float" in str(variable.dtype):
                value = keras.ops.convert_to_numpy(variable.value)
                off = np.spacing(np.abs(value)) if part is None else np.abs(value) * part
                variable.assign(value + np.nan_to_num(off) * random.choice([-1, 1], value.shape))

    def outputs(self, inputs: Any, like: Any = None) -> list[NDArray]:
        """What the model gives in inference mode."""
        with self.within():
            return to_arrays(self.model.predict_on_batch(as_given(inputs)), like)

    def step(
        self, inputs: Any, labels: Any, sample_weight: Any = None, class_weight: Mapping[int, float] | None = None
    ) -> float:
        """One stock ``train_on_batch``; gives the loss before it, with what the model adds to it."""
        with self.within():
            logs = self.model.train_on_batch(as_given(inputs), labels, sample_weight, class_weight, return_dict=True)
        return float(logs["loss"])

    def weights(self) -> dict[str, NDArray]:
        """The trained weights by path."""
        return {v.path: keras.ops.convert_to_numpy(v.value).copy() for v in self.model.trainable_variables}

    def _evaluate(self, layer: keras.Layer) -> None:
        original = layer.call

        def call(*args: Any, training: Any = None, **words: Any) -> Any:
            return original(*args, training=False, **words)

        layer.call = call
        self._kept.callback(partial(_uncover, layer, original))


def as_given(inputs: Any) -> Any:
    """Keras's inputs: one array where there is one, a list of several, a mapping."""
    if isinstance(inputs, (tuple, list)):
        return list(inputs) if len(inputs) > 1 else inputs[0]
    return inputs


def _layers(model: keras.Model) -> list[keras.Layer]:
    return list(model._flatten_layers(include_self=True))


def _draws(layer: keras.Layer) -> bool:
    """Whether a layer's training output depends on a generator of its own, or of the cell that it runs."""
    if hasattr(layer, "mask_seed") or not layer._call_has_training_arg:  # a dropout whose masks PyTorch's has, too
        return False
    owners = [layer, *([layer.cell] if getattr(layer, "cell", None) is not None else [])]
    rates = [getattr(layer, name, None) for name in ("rate", "stddev", "dropout", "recurrent_dropout")]
    drawn = [rate for rate in rates if isinstance(rate, (int, float))]
    return any(getattr(each, "_seed_generators", None) for each in owners) and (not drawn or any(drawn))


def _uncover(layer: keras.Layer, original: Any) -> None:
    del layer.call
    if layer.call != original:
        layer.call = original


def _mean_loss(
    model: keras.Model, loss: Any, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **__: Any
) -> Any:
    value = keras.ops.mean(loss(y, y_pred))
    for own in model.losses:
        value = value + keras.ops.sum(keras.ops.cast(own, value.dtype))
    return value
