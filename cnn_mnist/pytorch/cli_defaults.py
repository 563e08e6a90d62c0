"""What the Lightning command line starts from: its defaults and its parser."""

import re
import sys
from importlib.util import find_spec
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from cnn_mnist import settings
from cnn_mnist.console import summary
from cnn_mnist.console.arguments import ALLOW, OneLineErrors
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch import predict
from cnn_mnist.runs.folder import LOG_DIR, PYTORCH

DEFAULTS: dict[str, Any] = {
    "trainer.max_epochs": settings.MAX_EPOCHS,
    "trainer.logger": {
        "class_path": "cnn_mnist.pytorch.logger.RunLogger",
        "init_args": {"save_dir": LOG_DIR, "name": PYTORCH, "default_hp_metric": False},
    },
}


_KNOWN = {"lightning", "pytorch_lightning", "lightning_fabric", "torch", "torchmetrics", "cnn_mnist"}
"""Packages whose classes a settings file may name: what it names is imported, and runs code by that."""


def _refuse_strangers(value: Any) -> None:
    """Raises ``UserError`` where a trainer's settings name something of another package; imports nothing."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            _refuse_strangers(inner)
    elif isinstance(value, str) and re.fullmatch(r"[^\W\d]\w*(\.\w+)+", value):
        package = value.partition(".")[0]
        if package not in _KNOWN and (package == "__main__" or find_spec(package)):
            raise UserError(
                f"--config: expected classes of {', '.join(sorted(_KNOWN))}, got {value}, whose code would run; add "
                f"{ALLOW} where you trust the file"
            )


class Parser(OneLineErrors, LightningArgumentParser):
    """Lightning's parser with one-line errors, and with the project's other commands in its help."""

    def add_subcommands(self, *args: Any, **kwargs: Any) -> Any:
        """Adds ``predict`` and ``summary``, which ``__main__`` runs without Lightning."""
        action = super().add_subcommands(*args, **kwargs)
        for name, parser in {"predict": predict.build_parser(), "summary": summary.build_parser()}.items():
            action.add_subcommand(name, parser, help=parser.description)
        return action

    def rewritten(self, config: dict[str, Any]) -> dict[str, Any]:
        """One of an earlier version lists as callbacks what is built in today, and names Lightning's own logger."""
        trainer = config.get("trainer")
        if not isinstance(trainer, dict):
            return config
        if ALLOW not in sys.argv:
            _refuse_strangers(trainer)
        logger, default = trainer.get("logger"), DEFAULTS["trainer.logger"]
        if isinstance(logger, dict) and logger.get("init_args", {}).get("name") == PYTORCH:
            trainer = trainer | {"logger": logger | {"class_path": default["class_path"]}}
        if "cnn_mnist." not in str(trainer.get("callbacks")):
            return config | {"trainer": trainer}
        built_in = ["cnn_mnist.", "lightning.pytorch.callbacks.RichModelSummary"]
        if trainer.get("enable_checkpointing") is False:
            built_in.append("lightning.pytorch.callbacks.ModelCheckpoint")
        kept = [entry for entry in trainer["callbacks"] if not entry["class_path"].startswith(tuple(built_in))]
        return config | {"trainer": trainer | {"callbacks": kept}}
