"""Runs the user's Keras model in place, through Keras's own methods, and restores every bit afterwards."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from keras_parity.ladder.judge.nests import to_arrays, to_keras_inputs
from keras_parity.ladder.judge.snapshots import rnn_states, snapshot, unmoved


@dataclass
class KerasTraining:
    """How the model trains.

    Attributes:
        optimizer: Keras's optimizer.
        loss: A loss for ``compile``, or a function (labels, outputs) -> mean loss [].
        direct: Whether ``loss`` is such a function of all outputs at once; the model's own added losses still count.
        loss_weights: As in ``compile``.
        compiled: Whether the user's own ``compile`` stays in place.
    """

    optimizer: keras.Optimizer
    loss: Any
    direct: bool = False
    loss_weights: Any = None
    compiled: bool = False


class KerasRunner:
    """Runs a model and trains it in place with the stock ``train_on_batch``.

    Random layers run in inference mode.

    Args:
        model: The user's model, or a copy.
        training: How it trains; None for inference only.
        inputs: One batch, as the model takes it.
        within: Context of every call, such as a precision.

    Attributes:
        random: The layers whose training output is random.
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
        self._restores, self._stepped = ExitStack(), False
        with within(), unmoved([*model.variables, *rnn_states(model)]):
            model(to_keras_inputs(inputs), training=False)  # builds the layers that are not built yet
        layers = model._flatten_layers(include_self=True) if training else []
        self.random = [layer for layer in layers if _is_random(layer)]
        self._restores.callback(self.reset)
        self._saved: list[tuple[keras.Variable, NDArray]] = []
        try:
            for owner in self._owners():
                self._restores.callback(snapshot(owner))
            model.predict_function = None
            if training is not None:
                model.train_step = partial(_without_none, model.train_step)
                for layer in self.random:
                    self._force_inference(layer)
                with within():
                    self._compile(training)
            self.save()
        except BaseException:
            self._restores.close()
            raise

    def _owners(self) -> list[Any]:
        own = [value for value in vars(self.model).values() if isinstance(value, keras.Optimizer)]
        used = [self.training.optimizer] if self.training else []
        return [self.model, *{id(owner): owner for owner in (*used, *own)}.values()]

    def _compile(self, training: KerasTraining) -> None:
        if training.compiled:
            self.model.train_function = None  # traced with the random layers in training mode
        else:
            loss = None if training.direct else training.loss
            self.model.compile(optimizer=training.optimizer, loss=loss, loss_weights=training.loss_weights)
        if training.direct:
            self.model.compute_loss = partial(_mean_loss, self.model, training.loss)
        training.optimizer.build(self.model.trainable_variables)

    def save(self) -> None:
        """Saves the present state as the target of ``reset``."""
        variables = {id(v): v for owner in self._owners() for v in owner.variables}
        variables |= {id(v): v for v in (*rnn_states(self.model), *_counters(self.model))}
        values = ((v, v.value if isinstance(v, keras.Variable) else v) for v in variables.values())
        self._saved = [(v, keras.ops.convert_to_numpy(value).copy()) for v, value in values]

    def reset(self) -> None:
        """Restores the user's weights, statistics and optimizer state, to run again."""
        self._stepped = False
        with self.within():
            for variable, value in self._saved:
                variable.assign(value)

    def restore(self) -> None:
        """Restores the user's objects completely; the runner is done."""
        self._restores.close()

    def perturb(self, random: np.random.Generator, fraction: float | None) -> None:
        """Moves every weight by one unit in the last place, or by a fraction of its value."""
        with self.within():
            for variable in self.model.weights:
                if "float" in str(variable.dtype):
                    value = keras.ops.convert_to_numpy(variable.value)
                    size = np.spacing(np.abs(value)) if fraction is None else np.abs(value) * fraction
                    variable.assign(value + np.nan_to_num(size) * random.choice([-1, 1], value.shape))

    def outputs(self, inputs: Any, like: Any = None) -> list[NDArray]:
        """Returns the outputs in inference mode; see ``to_arrays`` for ``like``."""
        optimizer: Any = self.training.optimizer if self.training else None
        averaged = self._stepped and optimizer.use_ema and not optimizer.ema_overwrite_frequency
        weights = self.model.trainable_variables if averaged else []
        with self.within(), unmoved([*rnn_states(self.model), *weights]):
            if averaged:  # as at the end of ``fit``
                optimizer.finalize_variable_values(weights)
            return to_arrays(self.model.predict_on_batch(to_keras_inputs(inputs)), like)

    def step(
        self, inputs: Any, labels: Any, sample_weight: Any = None, class_weight: Mapping[int, float] | None = None
    ) -> float:
        """Takes one ``train_on_batch``; returns the loss before it, including the losses that the model adds."""
        with self.within():
            self._stepped = True
            batch = to_keras_inputs(inputs), labels, sample_weight, class_weight
            return float(self.model.train_on_batch(*batch, return_dict=True)["loss"])

    def _force_inference(self, layer: keras.Layer) -> None:
        original = layer.call

        def call(*args: Any, training: Any = None, **options: Any) -> Any:
            return original(*args, training=False, **options)

        layer.call = call
        self._restores.callback(partial(restore_call, layer, original))


def _counters(model: keras.Model) -> list[Any]:
    """Returns the variables that Keras does not count as a model's: metrics, and TensorFlow's own among attributes."""
    of_metrics = [v for metric in (model.metrics if model.compiled else []) for v in metric.variables]
    others = [value for value in vars(model).values() if hasattr(value, "assign") and hasattr(value, "numpy")]
    return [*of_metrics, *others]


def _without_none(step: Callable[..., Any], *state_and_data: Any) -> Any:
    """Runs a step on (inputs, labels) if there are no weights, as ``fit`` does: users' own steps unpack two values."""
    *state, data = state_and_data
    return step(*state, data[:2] if len(data) == 3 and data[2] is None else data)


def _is_random(layer: keras.Layer) -> bool:
    """Whether a layer's training output depends on its own random generator, or on its cell's."""
    if hasattr(layer, "mask_seed") or not layer._call_has_training_arg:  # a dropout that shares PyTorch's masks
        return False
    owners = [layer, *([layer.cell] if getattr(layer, "cell", None) is not None else [])]
    rates = [getattr(layer, name, None) for name in ("rate", "stddev", "dropout", "recurrent_dropout")]
    known = [rate for rate in rates if isinstance(rate, (int, float))]
    return any(getattr(each, "_seed_generators", None) for each in owners) and (not known or any(known))


def restore_call(layer: keras.Layer, original: Any) -> None:
    """Removes the replacement of a layer's ``call``; an ``original`` set on the object itself is set again."""
    del layer.call
    if layer.call != original:
        layer.call = original


def _mean_loss(
    model: keras.Model, loss: Any, x: Any = None, y: Any = None, y_pred: Any = None, *_: Any, **__: Any
) -> Any:
    value = keras.ops.mean(loss(y, y_pred))
    for added in model.losses:
        value = value + keras.ops.sum(keras.ops.cast(added, value.dtype))
    return value
