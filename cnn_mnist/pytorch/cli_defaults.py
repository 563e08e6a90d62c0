"""What the Lightning command line starts from: its defaults and its parser."""

from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from cnn_mnist import settings
from cnn_mnist.console import summary
from cnn_mnist.console.arguments import OneLineErrors
from cnn_mnist.pytorch import predict
from cnn_mnist.runs.folder import LOG_DIR, PYTORCH

DEFAULTS: dict[str, Any] = {
    "trainer.max_epochs": settings.MAX_EPOCHS,
    "trainer.logger": {
        "class_path": "cnn_mnist.pytorch.logger.RunLogger",
        "init_args": {"save_dir": LOG_DIR, "name": PYTORCH, "default_hp_metric": False},
    },
}


class Parser(OneLineErrors, LightningArgumentParser):
    """Lightning's parser with one-line errors, and with the project's other commands in its help."""

    def add_subcommands(self, *args: Any, **kwargs: Any) -> Any:
        """Adds ``predict`` and ``summary``, which ``__main__`` runs without Lightning."""
        action = super().add_subcommands(*args, **kwargs)
        for name, parser in {"predict": predict.build_parser(), "summary": summary.build_parser()}.items():
            action.add_subcommand(name, parser, help=parser.description)
        return action
