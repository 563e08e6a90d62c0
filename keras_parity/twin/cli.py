"""The twin's command line: reads the flags, trains the twin."""

from argparse import RawDescriptionHelpFormatter
from collections.abc import Mapping
from functools import partial
from typing import Any

from jsonargparse import ActionConfigFile, DefaultHelpFormatter, Namespace

from cnn_mnist.console import resume
from cnn_mnist.console.arguments import SEED_FLAG, OneLineErrors, expand_home, read_early
from cnn_mnist.console.run_settings import refuse_others, say_if_changed, say_if_no_twin
from cnn_mnist.errors import UserError
from cnn_mnist.runs.folder import CHECKPOINTS, find_checkpoint, read_settings
from cnn_mnist.settings import DataSettings, ModelSettings, names
from keras_parity.frameworks import RUN_NAMES, chosen_backend, importing_keras
from keras_parity.settings import GROUPS, TrainerSettings, flags, settings_that_matter, taken_over, twin_settings

_BACKEND = "Backend of Keras; default: KERAS_BACKEND, or tensorflow."


class _HelpFormatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the line breaks of the list of commands."""


class Parser(OneLineErrors):
    """The twin's parser; it also reads settings files of ``python -m cnn_mnist fit``."""

    def rewritten(self, config: dict[str, Any]) -> dict[str, Any]:
        """Translates Lightning's log folder; refuses settings that Keras cannot honour."""
        if isinstance(trainer := config.get("trainer"), dict):
            logger = trainer.get("logger")
            given = logger.get("init_args") if isinstance(logger, dict) else None
            log_dir = given.get("save_dir") if isinstance(given, dict) else None
            config = config | {"trainer": taken_over({"log_dir": log_dir} | trainer, "--config")}
        return {name: value for name, value in config.items() if value is not None}


def build_parser(commands: Mapping[str, str] | None = None) -> Parser:
    """Builds the twin's parser; its flags have the same names as in ``python -m cnn_mnist fit``.

    Args:
        commands: The other commands of ``python -m keras_parity``, each with its purpose, for the help.
    """
    lines = [f"  {name:18}{purpose}" for name, purpose in (commands or {}).items()]
    heading = ["Without a command, trains the Keras twin of `python -m cnn_mnist fit`.", "", "commands:"]
    usage = "python -m keras_parity [COMMAND] [flags]" if commands else None
    text = "\n".join([*heading, *lines])
    parser = Parser(prog="python -m keras_parity", usage=usage, description=text, formatter_class=_HelpFormatter)
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="Settings from a YAML file.")
    parser.add_argument("--seed_everything", **SEED_FLAG)
    parser.add_argument("--backend", choices=list(RUN_NAMES), default=None, help=_BACKEND)
    for group, kind in GROUPS.items():
        parser.add_class_arguments(kind, group, skip=names(kind, "seed"))
    ckpt_path = "Continue from this run folder (last: the newest) or .keras file."
    parser.add_argument("--ckpt_path", type=str | None, help=ckpt_path)
    parser.add_argument("--resume", type=str | None, help=resume.HELP)
    parser.add_argument("--checkpoint_every", type=int, default=0, help=resume.EVERY)
    twin_of = "Use the settings of this Lightning run folder; other flags override them."
    parser.add_argument("--twin_of", type=str | None, help=twin_of)
    return parser


def parse(args: list[str], commands: Mapping[str, str] | None = None) -> tuple[Parser, Namespace]:
    """Parses the arguments.

    Args:
        args: The arguments, without the program's name.
        commands: The other commands, each with its purpose, for the help.

    Returns:
        The parser, and the settings, including those of ``--twin_of`` and ``--ckpt_path``.

    Raises:
        UserError: ``--twin_of`` or ``--ckpt_path`` names no run, or one with other settings.
    """
    parser = build_parser(commands)
    # Parsed first and removed, so that --print_config prints the settings of that run.
    known, rest = read_early(expand_home(args), "twin_of")
    if (run := known["twin_of"]) is not None:
        taken = twin_settings(run)
        if unknown := taken.keys() - parser.get_defaults().keys():
            raise UserError(f"--twin_of: {run} has settings that the twin does not have: {sorted(unknown)}")
        parser.set_defaults(taken)
    config = parser.parse_args(rest)
    if config.ckpt_path is not None:
        config = _with_settings_of_checkpoint(parser, config, rest)
    if run is not None:
        say_if_no_twin(_of_twin(parser.get_defaults()), _of_twin(config), run)
        say_if_changed(run, config.data.file)
    return parser, config


def _of_twin(config: Namespace) -> dict[str, Any]:
    """What a twin shares with its run: the seed, and the settings that change a result."""
    return {"seed_everything": config.seed_everything, "ckpt_path": None} | settings_that_matter(config.as_dict())


def _with_settings_of_checkpoint(parser: Parser, config: Namespace, args: list[str]) -> Namespace:
    """Uses the settings of the checkpoint's run; refuses typed settings that differ."""
    path = find_checkpoint(config.ckpt_path, RUN_NAMES[chosen_backend(config.backend)])
    kept = read_settings(path.parent.parent) if path.parent.name == CHECKPOINTS else None
    taken: dict[str, Any] = {}  # outside a run folder, the settings in the file itself are checked on restore
    if kept is not None:
        taken = flags(kept, "model", "data") | {"trainer.precision": kept["trainer"]["precision"]}
        for name in names(DataSettings, "surroundings"):
            taken.pop(f"data.{name}", None)
    parser.set_defaults(taken)
    config = parser.parse_args(args)
    refuse_others(taken, {flag: config[flag] for flag in taken}, path)
    say_if_changed(path.parent.parent, config.data.file)
    config.ckpt_path = str(path)
    return config


def main(args: list[str], commands: Mapping[str, str]) -> None:
    """Trains the twin, and prints the results.

    Args:
        args: The arguments, without the program's name.
        commands: The other commands, each with its purpose, for the help.

    Raises:
        UserError: The arguments are wrong, or the training cannot run.
    """
    early, rest = read_early(args, "backend", "resume")
    (typed, run), folder = early.values(), None
    if run is not None:
        kept = read_settings(run) if run != "last" else None
        of_run = kept and kept.get("backend", next(iter(RUN_NAMES)))  # a run of TensorFlow may not name it
        if typed not in (None, of_run or typed):
            raise UserError(f"--resume: {run} was trained on {of_run}; omit --backend={typed}")
        args, folder = resume.resumed([f"--resume={run}", *rest], RUN_NAMES[chosen_backend(of_run or typed)])
    parser, config = parse(args, commands)
    config.backend = chosen_backend(typed or config.backend)
    trainer = TrainerSettings(**config.trainer.as_dict())
    model = ModelSettings(**config.model.as_dict(), seed=config.seed_everything)
    data = DataSettings(**config.data.as_dict(), seed=config.seed_everything)
    config.model.architecture = model.architecture  # a file's path becomes its description
    config.model.weight_decay = model.weight_decay  # its L2 penalty may become decay

    with importing_keras(config.backend, alone=True):
        from keras_parity.twin.processes import is_first, written_once
        from keras_parity.twin.train import on_devices, train

    write, every = partial(parser.save, config), config.checkpoint_every
    with written_once(trainer, folder) as (trainer, folder), on_devices(trainer, data) as hardware:
        log = train(trainer, model, data, write, config.ckpt_path, every, folder, hardware)
    if not is_first():
        return
    from cnn_mnist.console.results import save_and_print_results  # imports numpy, which --help does not need

    save_and_print_results(log.values, log.folder, log.step)
