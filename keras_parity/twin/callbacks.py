"""Keras callbacks: the log of a run, the end of a diverged run, and the progress bar."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from cnn_mnist.architecture.network import Network, layer_table
from cnn_mnist.console.progress import Bar
from cnn_mnist.console.tables import markdown_table
from cnn_mnist.data.splits import Split
from cnn_mnist.errors import UserError
from cnn_mnist.runs import pictures, tags
from cnn_mnist.runs.mistakes import write_mistakes
from cnn_mnist.runs.recorder import Recorder
from cnn_mnist.runs.timing import Stopwatch
from keras_parity.twin.engines import Batches


class RunLog:
    """Writes the event file of a run; the step of a point is the number of optimizer updates so far.

    Args:
        folder: The run folder.

    Attributes:
        values: The last value of each tag.
        step: Updates at the last point.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values: dict[str, float] = {}
        self.step = 0
        self._recorder = Recorder(folder)

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Writes values by tag, at a number of updates."""
        self.step, self.values = step, self.values | values
        for tag, value in tags.with_curves(values).items():
            self._recorder.add_scalar(tag, value, step)

    def start(self, network: Network, settings: Iterable[Any], train: Split) -> None:
        """Writes the number of parameters, the layer table, the settings and the examples.

        Args:
            network: The network.
            settings: The settings as TensorBoard records, see ``cnn_mnist.runs.hparams``.
            train: The training images.
        """
        self.scalars({tags.PARAMETERS: network.parameters}, step=0)
        self._recorder.add_text(tags.LAYERS, markdown_table(layer_table(network)), 0)
        for summary in settings:
            self._recorder.add_summary(summary, 0)
        self._recorder.add_image(tags.EXAMPLES, pictures.examples(*train), 0)

    def end(self, test: Split, probabilities: NDArray[np.floating], values: dict[str, float], step: int) -> None:
        """Writes the pictures, the mistakes, and last ``values``, which mark the run as finished.

        Args:
            test: The test set.
            probabilities: The predictions for it, [n, classes], in [0, 1].
            values: The evaluated figures, by tag.
            step: Optimizer updates so far.
        """
        pictures.add_predictions(self._recorder, test, probabilities, step)
        write_mistakes(self.folder, test.labels, probabilities.argmax(axis=1))
        self.scalars(values, step)
        self._recorder.close()


class EpochLog(keras.callbacks.Callback):
    """Sets the order of each epoch, and logs its metrics, ``time/*`` and ``throughput/*``.

    Args:
        log: The log of the run.
        batches: The training batches; their order depends on the epoch.
        images: Training images in an epoch.
        every: Steps between two points within an epoch, a multiple of ``steps_per_execution``; 0 for none.

    Attributes:
        step: Optimizer updates so far; counted here, because JAX's variables lag behind within an epoch.
    """

    def __init__(self, log: RunLog, batches: Batches, images: int, every: int) -> None:
        super().__init__()
        self.log, self.batches, self.images, self.every = log, batches, images, every
        self.stopwatch = Stopwatch()
        self.step = self._before = 0
        self._first, self._setup_logged = 0, False
        self._sums: list[Any] = []

    def go_on(self, first: int, state: Mapping[str, Any]) -> None:
        """Resumes at batch ``first`` of an epoch, with the state from the checkpoint."""
        self._first, self._sums, self._setup_logged = first, state["sums"] if first else [], True
        self.stopwatch.load_state(state["seconds"])
        self.log.values |= state["figures"]

    def set_model(self, model: keras.Model) -> None:
        """Continues the model's count of updates."""
        super().set_model(model)
        self.step = int(model.optimizer.iterations.numpy())

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the clock, with the order of this epoch."""
        self.batches.epoch, self._before = epoch, self.step
        if self._sums:  # Keras has just reset them; the accuracy's do not exist before a first batch
            self.model.compute_metrics(None, np.zeros(1), np.zeros((1, self.model.output_shape[-1])))
            for variable, value in zip(self.model.metrics_variables, self._sums, strict=True):
                variable.assign(value)
            self._sums = []
        self.stopwatch.resume()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Ends the set-up at the first call; logs the running means every ``every`` steps."""
        self.step = self._before + min(batch + 1, self.params["steps"])
        if not self._setup_logged:
            self._setup_logged = True
            self.log.scalars(self.stopwatch.setup_done(), self.step)
        if self.every and (self._first + batch + 1) % self.every == 0 and batch + 1 < self.params["steps"]:
            self.log.scalars(_figures(logs), self.step)

    def on_test_begin(self, logs: Any = None) -> None:
        """Stops the clock: validation is not training time."""
        self.stopwatch.pause()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Logs the epoch; raises ``UserError`` if its loss is not finite."""
        self._first = 0
        values = self.stopwatch.epoch_done(self.images) | _figures(logs)
        self.log.scalars(values, self.step)
        if not math.isfinite(values[tags.tag("train", "loss")]):
            where = f"epoch {epoch + 1} (up to step {self.step}) of {self.log.folder}"
            raise UserError(f"expected a finite loss, got NaN or infinity in {where}; lower --model.learning_rate")


class ProgressBar(keras.callbacks.Callback):
    """Draws the bar of ``console.progress`` from Keras's hooks; ``close`` restores the terminal.

    Args:
        enabled: Whether to draw it.

    Attributes:
        batches: Number of validation batches, which Keras does not pass to callbacks.
    """

    def __init__(self, enabled: bool) -> None:
        super().__init__()
        self.batches = 0
        self._bar = Bar(enabled)
        self.close = self._bar.stop

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Adds the epoch's line."""
        self._bar.start(f"epoch {epoch + 1}/{self.params['epochs']}", self.params["steps"])

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Advances the bar; Keras calls this once for each execution of several steps."""
        self._bar.move(min(batch + 1, self.params["steps"]), _figures(logs))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Shows the figures of the whole epoch."""
        self._bar.finish(self.params["steps"], _figures(logs))

    def on_test_begin(self, logs: Any = None) -> None:
        """Adds the evaluation's line."""
        self._bar.start("evaluation", self.batches)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Advances the bar."""
        self._bar.move(min(batch + 1, self.batches))

    def on_test_end(self, logs: Any = None) -> None:
        """Removes the line."""
        self._bar.drop()

    def on_predict_begin(self, logs: Any = None) -> None:
        """Adds a line, as for a validation."""
        self.batches = self.params["steps"]
        self.on_test_begin()

    on_predict_batch_end, on_predict_end = on_test_batch_end, on_test_end


def _figures(logs: Mapping[str, float] | None) -> dict[str, float]:
    """Keras's logs, such as ``val_loss``, by tag."""
    splits: tuple[tuple[tags.SplitName, str], ...] = (("train", ""), ("val", "val_"))
    names = {f"{prefix}{name}": tags.tag(split, name) for split, prefix in splits for name in tags.METRICS}
    return {tag: logs[name] for name, tag in names.items() if logs and name in logs}
