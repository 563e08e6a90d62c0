"""What the Lightning command line starts from: its defaults and its parser."""

import warnings
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from cnn_mnist import settings
from cnn_mnist.console import summary
from cnn_mnist.console.arguments import OneLineErrors
from cnn_mnist.errors import UserNotice
from cnn_mnist.pytorch import predict
from cnn_mnist.runs.folder import LOG_DIR, PYTORCH

DEFAULTS: dict[str, Any] = {
    "trainer.max_epochs": settings.MAX_EPOCHS,
    "trainer.logger": {
        "class_path": "cnn_mnist.pytorch.logger.RunLogger",
        "init_args": {"save_dir": LOG_DIR, "name": PYTORCH, "default_hp_metric": False},
    },
}

_GONE = "cnn_mnist.every_step.SparingProgressBar"
"""The progress bar that an earlier version listed in ``config.yaml``; today's is built in."""


class Parser(OneLineErrors, LightningArgumentParser):
    """Lightning's parser with one-line errors, and with the project's other commands in its help."""

    def add_subcommands(self, *args: Any, **kwargs: Any) -> Any:
        """Adds ``predict`` and ``summary``, which ``__main__`` runs without Lightning."""
        action = super().add_subcommands(*args, **kwargs)
        for name, parser in {"predict": predict.build_parser(), "summary": summary.build_parser()}.items():
            action.add_subcommand(name, parser, help=parser.description)
        return action

    def rewritten(self, config: dict[str, Any]) -> dict[str, Any]:
        """Leaves out the progress bar of an earlier version, and says so."""
        trainer = config.get("trainer")
        if not isinstance(trainer, dict) or not isinstance(listed := trainer.get("callbacks"), list):
            return config
        kept = [entry for entry in listed if not (isinstance(entry, dict) and entry.get("class_path") == _GONE)]
        if kept == listed:
            return config
        notice = f"--config: {_GONE} of an earlier version is left out, since a progress bar is built in"
        warnings.warn(UserNotice(notice), stacklevel=2)
        return config | {"trainer": trainer | {"callbacks": kept}}
