"""What the Lightning command line starts from: its defaults, its parser, and its silence."""

import logging
import warnings
from typing import Any

from lightning.pytorch.callbacks import Checkpoint, ModelSummary, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser

from cnn_mnist import settings
from cnn_mnist.console import summary
from cnn_mnist.console.arguments import OneLineErrors
from cnn_mnist.runs.folder import LOG_DIR, PYTORCH

_CALLBACKS = "lightning.pytorch.callbacks."

DEFAULTS: dict[str, Any] = {
    "trainer.max_epochs": settings.MAX_EPOCHS,
    "trainer.logger": {
        "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
        "init_args": {"save_dir": LOG_DIR, "name": PYTORCH, "default_hp_metric": False},
    },
    # Here rather than in trainer_defaults, whose callbacks are neither saved in config.yaml nor to be taken off.
    "trainer.callbacks": [
        {"class_path": "cnn_mnist.pytorch.every_step.SparingProgressBar"},
        {"class_path": _CALLBACKS + "RichModelSummary", "init_args": {"max_depth": 2}},
        {"class_path": _CALLBACKS + "ModelCheckpoint"},
    ],
}

TURNED_OFF_BY = {
    "enable_progress_bar": ProgressBar,
    "enable_model_summary": ModelSummary,
    "enable_checkpointing": Checkpoint,
}


class Parser(OneLineErrors, LightningArgumentParser):
    """Lightning's parser with one-line errors and the ``summary`` command in its help."""

    def add_subcommands(self, *args: Any, **kwargs: Any) -> Any:
        """Adds ``summary``, which ``__main__`` runs without a framework."""
        action = super().add_subcommands(*args, **kwargs)
        parser = summary.summary_parser()
        action.add_subcommand("summary", parser, help=parser.description)
        return action

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Any:
        """Reads a configuration, an earlier run's too, whose progress bar lay elsewhere."""
        return super().parse_string(
            content.replace("cnn_mnist.every_step.", "cnn_mnist.pytorch.every_step."), *args, **kwargs
        )


def quieten_lightning() -> None:
    """Leaves out Lightning's advice on its other products, and its warnings about what is meant here."""
    for module in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(module).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval")  # nothing is logged per step
    warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")  # no validation split
    warnings.filterwarnings("ignore", message=".*sync_dist=True")  # the metrics are summed over processes already
    warnings.filterwarnings("ignore", message="Precision .* is not supported by the model summary")  # a size in MB
    warnings.filterwarnings("ignore", message="The dirpath has changed")  # a resumed run has a folder of its own
    warnings.filterwarnings("ignore", category=FutureWarning, module="lightning")  # its own to mend
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="lightning")
