"""What ``fit``, ``validate`` and ``test`` take on the command line: flags, defaults, checkpoints and runs to resume."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from cnn_mnist import settings
from cnn_mnist.architecture.descriptions import plain, read_network
from cnn_mnist.console import resume, summary
from cnn_mnist.console.arguments import SEED_FLAG, OneLineErrors, refuse_others
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch import predict
from cnn_mnist.pytorch.checkpoints import read_checkpoint
from cnn_mnist.runs.folder import LOG_DIR, PYTORCH, find_checkpoint

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


class Arguments(LightningCLI):
    """What the command line takes: the published experiment by default, and no flag that is silently ignored.

    Args:
        args: What was typed after the program's name.
        **settings: LightningCLI's own.
    """

    def __init__(self, args: Sequence[str], **settings: Any) -> None:
        self.typed = list(args)
        super().__init__(**settings, args=self.typed)

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the seed."""
        parser.add_argument("--seed_everything", **SEED_FLAG)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Links the seed, and sets the defaults."""
        parser.link_arguments("seed_everything", "model.seed")
        parser.link_arguments("seed_everything", "data.seed")
        parser.set_defaults(DEFAULTS)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Lightning's, but for ``predict``, a command of its own; of these the typed one, as each costs time."""
        known = {name: skipped for name, skipped in LightningCLI.subcommands().items() if name != "predict"}
        return {name: skipped for name, skipped in known.items() if name in self.typed[:1]} or known

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Only ``fit`` makes a run folder, unless a logger is typed."""
        for name, one in self._subcommand_parsers.items():
            if name == "fit":
                one.add_argument("--resume", type=str | None, help=resume.HELP)
                one.add_argument("--checkpoint_every", type=int, default=0, help=resume.EVERY)
            else:
                one.set_defaults({"trainer.logger": False})
        self.run_folder = None
        if self.typed[:1] == ["fit"]:
            given, folder = resume.resumed(self.typed[1:], PYTORCH)
            if folder is not None:
                place = {"save_dir": folder.parent.parent, "name": folder.parent.name, "version": folder.name}
                args = ["fit", *given, *(f"--trainer.logger.{name}={value}" for name, value in place.items())]
                self.run_folder = folder
        self._args = args
        self._parse(parser, args)
        seed = self.config[self.config["subcommand"]].seed_everything
        if not 0 <= seed < settings.SEEDS:
            raise UserError(f"--seed_everything: expected 0 to {settings.SEEDS - 1}, got {seed}")

    def _parse(self, parser: LightningArgumentParser, args: Any) -> None:
        """Reads the arguments; a file that describes the network is read once, here."""
        super().parse_arguments(parser, args)
        model = self.config[self.config["subcommand"]].model
        model.architecture = plain(read_network(model.architecture))

    def _parse_ckpt_path(self) -> None:
        """Has the checkpoint's settings as defaults; what the user typed otherwise is refused, not ignored."""
        subcommand: str = self.config["subcommand"]
        path = self.config[subcommand].get("ckpt_path")
        if not path:
            return
        path = str(find_checkpoint(path, PYTORCH))
        checkpoint = read_checkpoint(path)
        model, data = checkpoint["hyper_parameters"], checkpoint.get("datamodule_hyper_parameters", {})
        kept = {"seed_everything": model.get("seed", settings.SEED)}
        kept |= {f"model.{name}": value for name, value in model.items() if name != "seed"}
        if subcommand in ("fit", "validate"):
            free = settings.names(settings.DataSettings, "seed", "surroundings")
            kept |= {f"data.{name}": value for name, value in data.items() if name not in free}
        self._parser(subcommand).set_defaults(kept)
        self._parse(self.parser, self._args)
        self.config[subcommand].ckpt_path = path
        epochs, asked = checkpoint.get("epoch", -1) + 1, self.config[subcommand].trainer.max_epochs
        if subcommand == "fit" and checkpoint.get("loops") and asked is not None and 0 <= asked <= epochs:
            raise UserError(f"--ckpt_path: {path} has {epochs} epochs already; give a --trainer.max_epochs over that")
        refuse_others(kept, self.config[subcommand], path)
