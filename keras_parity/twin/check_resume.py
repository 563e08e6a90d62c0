"""``check_resume``: whether anybody's ``Model.fit`` that is stopped goes on to the bit."""

import copy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from cnn_mnist.errors import UserError
from cnn_mnist.runs.resume_check import ResumeReport, Watch, check_stops


class _Watcher(keras.callbacks.Callback):
    """Shows every step to a watch."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch
        self.batch: Any = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Shows what a step got, and what it left."""
        model = self.model
        self.watch(
            int(model.optimizer.iterations),
            {
                "the batch": self.batch,
                "the learning rate": np.asarray(model.optimizer.learning_rate),
                "the weights": [np.asarray(variable) for variable in model.variables],
                "the optimizer's state": [np.asarray(variable) for variable in model.optimizer.variables],
                "what is logged": {name: float(value) for name, value in (logs or {}).items()},
            },
        )


def check_resume(
    model: keras.Model | Callable[[], keras.Model],
    data: Any,
    stops: str | Iterable[int] = "every step",
    *,
    seed: int = 0,
    save_freq: int | str = "epoch",
    **fit: Any,
) -> ResumeReport:
    """Trains straight, then stops after steps and resumes with Keras's ``BackupAndRestore``; names what differs first.

    Compared after every step of the optimizer, to the bit: the batch, the learning rate, weights, the optimizer's
    state, and what is logged. The steps run eagerly meanwhile, so that the batches can be seen.

    Args:
        model: A compiled model, of which copies are trained, or a function that makes one.
        data: What ``fit`` takes as ``x``, a tuple of ``x`` and ``y``, or a function that makes either.
        stops: After which steps, from 1; ``"every step"`` for all but the last.
        seed: What each training, and each that is resumed, begins with, as in a process of its own.
        save_freq: Of ``BackupAndRestore``: ``"epoch"``, or a number of steps.
        **fit: More words of ``fit``; 2 epochs by default.

    Returns:
        The report; ``print`` it, or call ``raise_if_broken()`` in a test.

    Raises:
        UserError: The model is not compiled, or there is no step behind a stop.

    Example:
        >>> report = check_resume(model, (images, labels), save_freq=1)  # doctest: +SKIP
    """
    make = model if not isinstance(model, keras.Model) else _copies(model)

    def train(folder: Path, watch: Watch) -> None:
        keras.utils.set_random_seed(seed)
        watcher, one = _Watcher(watch), make()
        one.run_eagerly = True
        step = one.train_step

        def shown(batch: Any) -> Any:
            watcher.batch = keras.tree.flatten(keras.tree.map_structure(np.asarray, batch))
            return step(batch)

        one.train_step = shown
        backup = keras.callbacks.BackupAndRestore(folder / "backup", save_freq=save_freq)
        given = data() if callable(data) and not isinstance(data, keras.utils.PyDataset) else data
        fed = dict(zip("xy", given, strict=False)) if isinstance(given, tuple) else {"x": given}
        callbacks = [*(copy.deepcopy(callback) for callback in fit.get("callbacks") or ()), backup, watcher]
        one.fit(**fed, **{"epochs": 2, "verbose": 0} | fit | {"callbacks": callbacks})

    return check_stops(train, stops)


def _copies(model: keras.Model) -> Callable[[], keras.Model]:
    """What makes a copy with the weights that the model has now, compiled alike."""
    if not model.compiled:
        raise UserError("expected a compiled model, got one without an optimizer and a loss; call its compile() first")
    config, weights = model.get_compile_config(), model.get_weights()

    def make() -> keras.Model:
        one = keras.models.clone_model(model)
        one.set_weights(weights)
        one.compile_from_config(config)
        return one

    return make
