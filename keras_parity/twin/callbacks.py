"""What a Keras run writes, when it stops early, and its progress bar."""

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
from keras_parity.twin.loader import TrainingBatches


class RunLog:
    """The event file of a run; the step of a point is the number of optimizer updates done so far.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.values: dict[str, float] = {}  # the last of each tag
        self._recorder = Recorder(folder)

    def scalars(self, values: dict[str, float], step: int) -> None:
        """Writes values by tag."""
        self.values |= values
        for tag, value in tags.with_curves(values).items():
            self._recorder.add_scalar(tag, value, step)

    def start(self, network: Network, settings: Iterable[Any], train: Split) -> None:
        """Writes the number of parameters, the layer table, the settings and the examples.

        Args:
            network: What is trained.
            settings: TensorBoard's own records of the settings, see ``cnn_mnist.runs.hparams``.
            train: The training images.
        """
        self.scalars({tags.PARAMETERS: network.parameters}, step=0)
        self._recorder.add_text(tags.LAYERS, markdown_table(layer_table(network)), 0)
        for summary in settings:
            self._recorder.add_summary(summary, 0)
        self._recorder.add_image(tags.EXAMPLES, pictures.examples(*train), 0)

    def end(self, test: Split, probabilities: NDArray[np.floating], values: dict[str, float], step: int) -> None:
        """Writes all that is known of the trained network, and last of all ``values``: they say that a run is whole.

        Args:
            test: The test set.
            probabilities: What is predicted of it, [n, classes].
            values: Evaluated, by tag.
            step: Updates done.
        """
        predictions = probabilities.argmax(axis=1)
        confusion = pictures.confusion_matrix(test.labels, predictions, test.classes)
        self._recorder.add_image(tags.CONFUSION_MATRIX, confusion, step)
        self._recorder.add_image(tags.MISTAKES, pictures.mistakes(*test, probabilities), step)
        write_mistakes(self.folder, test.labels, predictions)
        self.scalars(values, step)
        self._recorder.close()


class EpochLog(keras.callbacks.Callback):
    """Sets the order of each epoch, and logs its metrics, ``time/*`` and ``throughput/*``.

    Args:
        log: Where to.
        batches: The training batches, which follow the epoch.
        images: Training images in an epoch.
        every: Steps between two points within an epoch, 0 for none; steps of one execution divide it.
    """

    def __init__(self, log: RunLog, batches: TrainingBatches, images: int, every: int) -> None:
        super().__init__()
        self.log, self.batches, self.images, self.every = log, batches, images, every
        self.stopwatch = Stopwatch()
        self._first, self._setup_logged = 0, False
        self._sums: list[Any] = []

    def go_on(self, first: int, state: Mapping[str, Any]) -> None:
        """Goes on from batch ``first`` of the next epoch with what the checkpoint holds."""
        self._first, self._sums, self._setup_logged = first, state["sums"] if first else [], True
        self.stopwatch.load_state(state["seconds"])
        self.log.values |= state["figures"]

    @property
    def step(self) -> int:
        """Updates done so far."""
        return int(self.model.optimizer.iterations.numpy())

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Training begins, in the order of this epoch."""
        self.batches.epoch = epoch
        if self._sums:  # Keras has just reset them, and makes those of the accuracy with the first batch
            self.model.compute_metrics(None, np.zeros(1), np.zeros((1, self.model.output_shape[-1])))
            for variable, value in zip(self.model.metrics_variables, self._sums, strict=True):
                variable.assign(value)
            self._sums = []
        self.stopwatch.resume()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """The first call that returns ends the set-up; within the epoch, logs the running means when they are due."""
        if not self._setup_logged:
            self._setup_logged = True
            self.log.scalars(self.stopwatch.setup_done(), self.step)
        if self.every and (self._first + batch + 1) % self.every == 0 and batch + 1 < self.params["steps"]:
            self.log.scalars(_figures(logs), self.step)

    def on_test_begin(self, logs: Any = None) -> None:
        """Validation does not count."""
        self.stopwatch.pause()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Logs the epoch; ends the training where its loss is no finite number."""
        self._first = 0
        values = self.stopwatch.epoch_done(self.images) | _figures(logs)
        self.log.scalars(values, self.step)
        if not math.isfinite(values[tags.tag("train", "loss")]):
            raise UserError(
                f"expected a finite loss, got NaN or infinity in epoch {epoch + 1} (up to step {self.step}) of "
                f"{self.log.folder}; lower --model.learning_rate"
            )


class ProgressBar(keras.callbacks.Callback):
    """The bar of ``console.progress`` on Keras's hooks; ``close`` gives the terminal back.

    Args:
        enabled: Whether anything is drawn.

    Attributes:
        batches: Those of a validation, of which Keras tells a callback nothing.
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
        """Moves it; Keras calls this once for every execution of several steps."""
        self._bar.move(min(batch + 1, self.params["steps"]), _figures(logs))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Shows the figures of the whole epoch."""
        self._bar.finish(self.params["steps"], _figures(logs))

    def on_test_begin(self, logs: Any = None) -> None:
        """Adds the evaluation's line."""
        self._bar.start("evaluation", self.batches)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Moves it."""
        self._bar.move(min(batch + 1, self.batches))

    def on_test_end(self, logs: Any = None) -> None:
        """Takes it away."""
        self._bar.drop()

    def on_predict_begin(self, logs: Any = None) -> None:
        """As for a validation."""
        self.batches = self.params["steps"]
        self.on_test_begin()

    on_predict_batch_end, on_predict_end = on_test_batch_end, on_test_end


def _figures(logs: Mapping[str, float] | None) -> dict[str, float]:
    """What Keras calls ``loss`` and ``val_loss``, by tag."""
    splits: tuple[tuple[tags.SplitName, str], ...] = (("train", ""), ("val", "val_"))
    names = {f"{prefix}{name}": tags.tag(split, name) for split, prefix in splits for name in tags.METRICS}
    return {tag: logs[name] for name, tag in names.items() if logs and name in logs}
