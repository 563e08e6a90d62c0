"""Writes settings, environment, layer table and pictures into the run folder."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only

from cnn_mnist.architecture.network import layer_table
from cnn_mnist.console.tables import markdown_table
from cnn_mnist.data.splits import Split
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.data_module import MNISTDataModule
from cnn_mnist.pytorch.logger import RunLogger, run_folder, run_logger
from cnn_mnist.pytorch.metrics import MeasuredModule
from cnn_mnist.pytorch.trainer_settings import trainer_settings
from cnn_mnist.runs import hparams, pictures, tags
from cnn_mnist.runs.environment import write_environment
from cnn_mnist.runs.files import atomic_write_text
from cnn_mnist.runs.folder import CONFIG, ENVIRONMENT, PYTORCH
from cnn_mnist.runs.mistakes import write_mistakes
from cnn_mnist.runs.recorder import mark


class RunRecord(Callback):
    """Writes everything in a run folder but scalars and checkpoints."""

    _begun = False  # whether this fit started a run folder
    _first_step = 0  # updates done before this fit

    @rank_zero_only
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Marks the event file of another TensorBoard logger as this project's, before anything is logged."""
        logger = run_logger(trainer)
        if logger is not None and not isinstance(logger, RunLogger):
            writer = logger.experiment.file_writer
            if writer is not None:  # a fit before has closed it
                writer.add_event(mark())

    @rank_zero_only
    def on_fit_start(self, trainer: Trainer, pl_module: MeasuredModule) -> None:  # type: ignore[override]
        """Writes settings, environment, layer table and example images."""
        folder, logger, data = run_folder(trainer), run_logger(trainer), _data(trainer)
        if folder is None or Path(folder, ENVIRONMENT).exists():  # a resumed run already has them
            return
        self._begun = True
        device = trainer.strategy.root_device
        write_environment(
            folder,
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            devices=trainer.world_size,
            threads=torch.get_num_threads(),
            precision=str(trainer.precision),
            data_file=data.settings.file if data else None,
        )
        for each in trainer.loggers:
            each.log_metrics({tags.PARAMETERS: float(pl_module.settings.network.parameters)}, 0)
        if not Path(folder, CONFIG).exists():  # the command line has already written it
            _write_config(Path(folder, CONFIG), trainer, pl_module, data)
        if logger is None:
            return
        writer = logger.experiment
        writer.add_text(tags.LAYERS, markdown_table(layer_table(pl_module.settings.network)), 0)
        if data is None:  # plain loaders: their data are unknown
            return
        run = PYTORCH, pl_module.settings, data.settings, trainer.max_epochs, str(trainer.precision)
        for summary in hparams.summaries(*run, folder.name):
            writer.file_writer.add_summary(summary, 0)
        writer.add_image(tags.EXAMPLES, pictures.examples(*data.splits["train"]), 0, dataformats="HWC")

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
        indices, probabilities = pl_module.take_predictions()  # in every process, because it gathers
        folder, logger, data = run_folder(trainer), run_logger(trainer), _data(trainer)
        if folder is None or data is None or not trainer.is_global_zero:
            return
        test, order, chances = data.splits["test"], indices.cpu().numpy(), probabilities.cpu().numpy()
        part = Split(test.images[order], test.labels[order], test.classes)
        if logger is not None:
            pictures.add_predictions(logger.experiment, part, chances, trainer.global_step)
        if np.array_equal(order, np.arange(len(test.labels))):  # predictions of a part would look complete
            write_mistakes(folder, part.labels, chances.argmax(axis=1))


def _write_config(path: Path, trainer: Trainer, model: MeasuredModule, data: MNISTDataModule | None) -> None:
    groups = {"model": asdict(model.settings)} | ({"data": asdict(data.settings)} if data else {})
    seed = groups["model"].pop("seed")
    if data and data.settings.seed == seed:  # the commands have one seed
        del groups["data"]["seed"]
    config = {"seed_everything": seed, "trainer": trainer_settings(trainer)} | groups
    config |= {"ckpt_path": str(trainer.ckpt_path)} if trainer.ckpt_path else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, yaml.safe_dump(config, sort_keys=False))


def _data(trainer: Trainer) -> MNISTDataModule | None:
    """Returns this project's data module; None for loaders or another module."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    return data if isinstance(data, MNISTDataModule) else None
