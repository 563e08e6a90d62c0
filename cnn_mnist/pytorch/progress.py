"""The project's progress bar and layer table, used instead of Lightning's."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from cnn_mnist.console.progress import EVERY, Bar
from cnn_mnist.console.summary import summarize
from cnn_mnist.pytorch.metrics import MeasuredModule


class LineProgressBar(ProgressBar):
    """A line for each epoch with its loss and accuracy; the Keras twin draws the same."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = Bar()
        self._epoch = -1

    def disable(self) -> None:
        """Stops drawing."""
        self._bar.enabled = False

    def enable(self) -> None:
        """Starts drawing."""
        self._bar.enabled = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the epoch's line."""
        self._begin(trainer)

    def on_train_batch_end(  # type: ignore[override]
        self, trainer: Trainer, pl_module: MeasuredModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Updates the epoch's line."""
        if batch_idx % EVERY == 0:
            self._begin(trainer, batch_idx + 1)
            self._bar.move(batch_idx + 1, pl_module.figures)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: MeasuredModule) -> None:  # type: ignore[override]
        """Shows the figures of the whole epoch."""
        self._begin(trainer)
        last = {tag: float(value) for tag, value in pl_module.means_of("train").items()}  # if it ended early
        self._bar.finish(trainer.fit_loop.batch_idx + 1, pl_module.figures | last)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds the evaluation's line."""
        self._bar.start("evaluation", sum(trainer.num_test_batches if trainer.testing else trainer.num_val_batches))

    on_test_start = on_validation_start

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Updates the evaluation's line."""
        self._bar.advance()

    on_test_batch_end = on_validation_batch_end

    def on_validation_end(self, *args: Any, **kwargs: Any) -> None:
        """Removes the evaluation's line."""
        self._bar.drop()

    on_test_end = on_validation_end

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        """Ends the drawing."""
        self._bar.stop()

    on_exception = teardown

    def _begin(self, trainer: Trainer, done: int = 0) -> None:
        """Adds an epoch's line once; a run resumed within an epoch never calls ``on_train_epoch_start`` for it."""
        if self._epoch != trainer.current_epoch:
            self._epoch = trainer.current_epoch
            epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else "?"
            steps = self.total_train_batches
            if trainer.max_steps >= 0:
                steps = min(steps, done + (trainer.max_steps - trainer.global_step) * trainer.accumulate_grad_batches)
            self._bar.start(f"epoch {self._epoch + 1}/{epochs}", steps)


class LayerTable(Callback):
    """Prints the layers with their shapes and parameters at the start of a training."""

    def on_fit_start(self, trainer: Trainer, pl_module: MeasuredModule) -> None:  # type: ignore[override]
        """Prints the table in the first process."""
        if trainer.is_global_zero:
            summarize(pl_module.settings.network, "keras")
