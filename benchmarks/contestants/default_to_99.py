"""The default settings, stopped at the first epoch that reaches 99% on the test set; evaluation is not timed.

A process: ``python -m benchmarks.contestants.default_to_99 DATA_DIR SEED``.
"""

import json
import sys
import tempfile
from importlib import import_module
from typing import Any

from cnn_mnist.runs import tags

import_module("cnn_mnist.pytorch")  # before torch: the allocator, and how threads wait

from lightning.pytorch import Callback, Trainer

from cnn_mnist.pytorch.data_module import MNISTDataModule
from cnn_mnist.pytorch.module import Classifier
from cnn_mnist.pytorch.notices import quieten_lightning
from cnn_mnist.pytorch.training_log import TrainingLog


class StopAt99(Callback):
    """Stops the training when validation, here on the test set, reaches 99%."""

    accuracy = 0.0

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Looks at the accuracy."""
        self.accuracy = trainer.callback_metrics[tags.tag("val", "acc")].item()
        trainer.should_stop = self.accuracy >= 0.99


def main(data_dir: str, seed: int) -> None:
    """Trains until the test accuracy reaches 99%."""
    quieten_lightning()
    stop = StopAt99()
    data = MNISTDataModule(data_dir=data_dir, seed=seed)
    data.val_dataloader = data.test_dataloader  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=20, accelerator="cpu", callbacks=[stop], default_root_dir=folder, num_sanity_val_steps=0
        )
        trainer.fit(Classifier(seed=seed), data)
    (log,) = (callback for callback in trainer.callbacks if isinstance(callback, TrainingLog))  # type: ignore[attr-defined]
    print(f"\n{json.dumps({'seconds': log.stopwatch.fit_seconds, 'test/acc': stop.accuracy})}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
