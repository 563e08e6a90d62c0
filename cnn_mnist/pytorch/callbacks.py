"""Writes settings, environment, layer table and pictures into the run folder."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from cnn_mnist.architecture.network import layer_table
from cnn_mnist.console.tables import markdown_table
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.data_module import MNISTDataModule
from cnn_mnist.pytorch.logger import RunLogger, run_logger
from cnn_mnist.pytorch.metrics import MeasuredModule
from cnn_mnist.runs import hparams, pictures, tags
from cnn_mnist.runs.files import atomic_write_text
from cnn_mnist.runs.folder import CONFIG, ENVIRONMENT, PYTORCH, write_environment
from cnn_mnist.runs.mistakes import write_mistakes

_TRAINER = (
    "max_epochs",
    "max_steps",
    "limit_train_batches",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "precision",
)
"""Settings of a ``Trainer`` built in Python that go into ``config.yaml``."""


class RunRecord(Callback):
    """Writes everything in a run folder but scalars and checkpoints."""

    _begun = False  # whether this fit started a run folder
    _first_step = 0  # updates done before this fit

    @rank_zero_only
    def on_fit_start(self, trainer: Trainer, pl_module: MeasuredModule) -> None:  # type: ignore[override]
        """Writes settings, environment, layer table and example images."""
        logger = run_logger(trainer)
        if logger is None or Path(logger.log_dir, ENVIRONMENT).exists():  # a resumed run already has them
            return
        self._begun, writer = True, logger.experiment
        device = trainer.strategy.root_device
        write_environment(
            logger.log_dir,  # trainer.log_dir would wait for other processes
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            threads=torch.get_num_threads(),
            precision=str(trainer.precision),
        )
        parameters = pl_module.settings.network.parameters
        writer.add_scalar(tags.PARAMETERS, parameters, 0)
        writer.add_text(tags.LAYERS, markdown_table(layer_table(pl_module.settings.network)), 0)
        data = _data(trainer)
        if data is None:  # plain loaders: their data are unknown
            return
        if not Path(logger.log_dir, CONFIG).exists():  # the command line has already written it
            _write_config(Path(logger.log_dir, CONFIG), trainer, pl_module, data)
        run = PYTORCH, pl_module.settings, data.settings, trainer.max_epochs, str(trainer.precision)
        for summary in hparams.summaries(*run, Path(logger.log_dir).name):
            writer.file_writer.add_summary(summary, 0)
        train = data.splits["train"]
        writer.add_image(tags.EXAMPLES, pictures.examples(*train), 0, dataformats="HWC")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remembers the updates of the checkpoint that the fit continues from."""
        self._first_step = trainer.global_step

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Removes the folder of a fit that is refused before its first step."""
        refused = isinstance(exception, UserError) and self._begun and trainer.global_step == self._first_step
        for logger in trainer.loggers if refused else ():
            if isinstance(logger, RunLogger):
                logger.discard()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: MeasuredModule) -> None:  # type: ignore[override]
        """Writes confusion matrix and misclassified images, and after a complete test ``mistakes.csv``."""
        indices, probabilities = pl_module.predictions.compute()  # in every process, because it gathers
        pl_module.predictions.reset()
        logger, data = run_logger(trainer), _data(trainer)
        if logger is None or data is None or not trainer.is_global_zero:
            return
        test, order = data.splits["test"], indices.cpu().numpy()
        images, labels = test.images[order], test.labels[order]
        chances = probabilities.cpu().numpy()
        predictions = chances.argmax(axis=1)
        drawn = {
            tags.CONFUSION_MATRIX: pictures.confusion_matrix(labels, predictions, test.classes),
            tags.MISTAKES: pictures.mistakes(images, labels, test.classes, chances),
        }
        for name, picture in drawn.items():
            logger.experiment.add_image(name, picture, trainer.global_step, dataformats="HWC")
        if np.array_equal(order, np.arange(len(test.labels))):  # predictions of a part would look complete
            write_mistakes(logger.log_dir, labels, predictions)


def _write_config(path: Path, trainer: Trainer, model: MeasuredModule, data: MNISTDataModule) -> None:
    settings: dict[str, Any] = {n: getattr(value := getattr(trainer, n), "value", value) for n in _TRAINER}
    if settings["limit_train_batches"] == 1.0:  # Lightning's value for all batches
        settings["limit_train_batches"] = None
    groups = {"model": asdict(model.settings), "data": asdict(data.settings)}
    seed = groups["model"].pop("seed")
    if groups["data"]["seed"] == seed:  # the commands have one seed
        del groups["data"]["seed"]
    atomic_write_text(path, yaml.safe_dump({"seed_everything": seed, "trainer": settings} | groups, sort_keys=False))


def _data(trainer: Trainer) -> MNISTDataModule | None:
    """Returns this project's data module; None for loaders or another module."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    return data if isinstance(data, MNISTDataModule) else None
