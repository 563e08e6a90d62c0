"""Arguments of ``fit``, ``validate`` and ``test``: flags, defaults, checkpoints and runs to resume."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from cnn_mnist import settings
from cnn_mnist.architecture.descriptions import plain, read_network
from cnn_mnist.architecture.from_keras import take_over_penalty
from cnn_mnist.console import resume
from cnn_mnist.console.arguments import SEED_FLAG, OneLineErrors
from cnn_mnist.console.commands import COMMANDS
from cnn_mnist.console.predict_input import CKPT_PATH
from cnn_mnist.console.run_settings import refuse_others, say_if_changed
from cnn_mnist.errors import expect
from cnn_mnist.pytorch.checkpoints import expect_more_epochs, read_checkpoint
from cnn_mnist.runs.folder import LOG_DIR, PYTORCH, find_checkpoint, read_config

DEFAULTS: dict[str, Any] = {
    "trainer.max_epochs": settings.MAX_EPOCHS,
    "trainer.logger": {
        "class_path": "cnn_mnist.pytorch.logger.RunLogger",
        "init_args": {"save_dir": LOG_DIR, "name": PYTORCH, "default_hp_metric": False},
    },
}


class Parser(OneLineErrors, LightningArgumentParser):
    """Lightning's parser with one-line errors."""

    def rewritten(self, config: dict[str, Any]) -> dict[str, Any]:
        """Refuses a seed of the model or the data that differs from the run's; Lightning would ignore it."""
        run = config.get("seed_everything", settings.SEED)
        for group in ("model", "data"):
            given = config.get(group)
            given = read_config(".", given) if isinstance(given, str) else given  # a file of its own
            seed = given.get("seed", run) if isinstance(given, dict) else config.get(f"{group}.seed", run)
            if seed != run:
                came = f"{group}.seed={seed}; set seed_everything, and remove {group}.seed"
                self.error(f"--config: expected one seed for model and data, seed_everything={run}, got {came}")
        return config


class Arguments(LightningCLI):
    """Parses the command line. The defaults are the published experiment; no flag is silently ignored.

    Args:
        args: The arguments, beginning with the command.
        **settings: Arguments of ``LightningCLI``.
    """

    def __init__(self, args: Sequence[str], **settings: Any) -> None:
        self.typed = list(args)
        super().__init__(**settings, args=self.typed)

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the seed."""
        parser.add_argument("--seed_everything", **SEED_FLAG)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Passes the seed to model and data, and sets the defaults."""
        parser.link_arguments("seed_everything", "model.seed")
        parser.link_arguments("seed_everything", "data.seed")
        parser.set_defaults(DEFAULTS)

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Lightning's commands without ``predict``; only the typed one if it is known, because each costs time."""
        known = {name: skipped for name, skipped in LightningCLI.subcommands().items() if name != "predict"}
        return {name: skipped for name, skipped in known.items() if name in self.typed[:1]} or known

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Adds our flags to Lightning's, and parses. Only ``fit`` logs by default."""
        for name, one in self._subcommand_parsers.items():
            one.usage, one.description = f"python -m cnn_mnist {name} [flags]", COMMANDS[name]
            # Lightning lists the trainer's 350 lines first.
            one._action_groups = sorted(one._action_groups, key=lambda group: "Customize" in str(group.title))
            next(action for action in one._actions if action.dest == "ckpt_path").help = CKPT_PATH
            if name == "fit":
                one.add_argument("--resume", type=str | None, help=resume.HELP)
                one.add_argument("--checkpoint_every", type=int, default=0, help=resume.EVERY)
            else:
                one.set_defaults({"trainer.logger": False})
        self.run_folder = None
        if self.typed[:1] == ["fit"]:
            resumed, folder = resume.resumed(self.typed[1:], PYTORCH)
            if folder is not None:
                place = {"save_dir": folder.parent.parent, "name": folder.parent.name, "version": folder.name}
                args = ["fit", *resumed, *(f"--trainer.logger.{name}={value}" for name, value in place.items())]
                self.run_folder = folder
        self._args = args
        self._parse(parser, args)
        seed = self.config[self.config["subcommand"]].seed_everything
        expect("--seed_everything", settings.SEEDS.holds(seed), settings.SEEDS.expected, seed)

    def _parse(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the arguments, and reads a file that describes the network once."""
        super().parse_arguments(parser, args)
        model = self.config[self.config["subcommand"]].model
        network = read_network(model.architecture)
        model.architecture = plain(network)
        model.weight_decay = take_over_penalty(network, model.optimizer, model.momentum, model.weight_decay)

    def _parse_ckpt_path(self) -> None:
        """Uses the checkpoint's settings as defaults, and refuses typed ones that contradict them."""
        subcommand: str = self.config["subcommand"]
        path = self.config[subcommand].get("ckpt_path")
        if not path:
            return
        path = str(find_checkpoint(path, PYTORCH))
        checkpoint = read_checkpoint(path)
        model, data = checkpoint["hyper_parameters"], checkpoint.get("datamodule_hyper_parameters", {})
        kept = {"seed_everything": model.get("seed", settings.SEED)}
        kept |= {f"model.{name}": value for name, value in model.items() if name != "seed"}
        free = settings.names(settings.DataSettings, "seed", "surroundings")
        kept |= {f"data.{name}": value for name, value in data.items() if name not in free}
        self._parser(subcommand).set_defaults(kept)
        self._parse(self.parser, self._args)
        self.config[subcommand].ckpt_path = path
        if subcommand == "fit" and checkpoint.get("loops"):
            expect_more_epochs(path, checkpoint.get("epoch", -1) + 1, self.config[subcommand].trainer.max_epochs)
        if subcommand == "test":  # a network may be tested on another data set, if it is named
            kept = {flag: value for flag, value in kept.items() if not flag.startswith("data.")}
        refuse_others(kept, self.config[subcommand], path)
        say_if_changed(Path(path).parent.parent, self.config[subcommand].data.file)
