"""How both command lines take arguments: one line on stderr for a mistake, with the name that was meant."""

import argparse
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import ArgumentParser, get_loader, set_loader

from cnn_mnist.architecture.descriptions import read_network
from cnn_mnist.console.known_classes import ALLOW, known_classes_only
from cnn_mnist.errors import UserError, nearest
from cnn_mnist.runs.folder import STUDY
from cnn_mnist.settings import SEED
from cnn_mnist.yaml_files import check_aliases

CONFIGS = Path(__file__).parent.parent / "configs"
"""Where the settings lie that ``--config NAME`` finds, as NAME.yaml."""

SEED_FLAG: Mapping[str, Any] = {
    "type": int,
    "default": SEED,
    "help": "Seed of everything random, at least 0: initial weights, order of the images, what is held out.",
}
"""What ``--seed_everything`` is."""

_NO_YAML = (yaml.YAMLError, AttributeError, KeyError, RecursionError, ValueError)
"""What reading a text as YAML raises: for a date that is none, or a tag that does not fit, PyYAML raises the others."""

_read_yaml = get_loader("yaml")


def _load(text: str) -> Any:
    check_aliases(text)
    return _read_yaml(text)


set_loader("yaml", _load, _NO_YAML)  # for settings within settings too: another file, a text, a variable, a flag


class OneLineErrors(ArgumentParser):
    """A jsonargparse parser that says a mistake in one line, without the usage, and exits with 2.

    A shortened or mistyped flag is refused with the nearest name; packaged settings are known by their names.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        self._switches: set[str] = set()
        super().__init__(*args, **({"allow_abbrev": False} | settings))

    def add_switch(self, name: str, help: str) -> None:
        """Adds a flag that is true where it stands bare, and None where it does not stand."""
        self._switches.add(name)
        self.add_argument(name, type=bool, default=None, help=help)

    def add_some(self, kind: type, group: str, *names: str) -> None:
        """Adds the flags of some settings of a class alone."""
        self.add_class_arguments(kind, group, skip={entry.name for entry in fields(kind)}.difference(names))

    def parse_args(self, args: Sequence[str], *more: Any, **settings: Any) -> Any:  # type: ignore[override]
        """Parses the arguments."""
        given = _with_packaged(with_home(args))
        typed = [arg for arg in given if arg != ALLOW]
        for place, (arg, value) in enumerate(zip(typed, [*typed, ""][1:], strict=True)):
            if arg in self._switches and value.lower() not in ("true", "false"):
                typed[place] = f"{arg}=true"
        try:
            with known_classes_only(None if ALLOW in given else self.error):
                return super().parse_args(typed, *more, **settings)
        except UnicodeDecodeError as error:
            self.error(f"expected settings in UTF-8, got {error}; save the file as that")

    def rewritten(self, config: dict[str, Any]) -> dict[str, Any]:
        """A configuration file's content as this parser takes it; by default as it is."""
        return config

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Any:
        """Reads a configuration file."""
        try:
            config = _load(content)
        except _NO_YAML:
            config = None  # jsonargparse says what is wrong with it
        own = {name: value for name, value in config.items() if name != STUDY} if isinstance(config, dict) else None
        if own is not None and (changed := with_home(self.rewritten(own))) != config:
            content = yaml.safe_dump(changed, sort_keys=False)
        return super().parse_string(content, *args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the message on one line, with the flag that was meant, and exits with 2."""
        program = self.prog.replace(" [options]", "").replace("__main__.py", "python -m cnn_mnist")
        unknown = re.search(r"unrecognized arguments: (--[^\s=]+)", message)
        meant = nearest(unknown[1], self._option_string_actions) if unknown else ""
        print(f"{program}: error: {' '.join(message.split())}{meant} (see --help)", file=sys.stderr)
        raise SystemExit(2)


def with_home(given: Any) -> Any:
    """Arguments, or a configuration, with the home folder for a ``~`` that a path begins with, as a shell has it."""
    if isinstance(given, Mapping):
        return {name: with_home(value) for name, value in given.items()}
    if isinstance(given, str):
        flag, equals, path = given.partition("=") if given.startswith("-") else ("", "", given)
        return f"{flag}{equals}{os.path.expanduser(path)}"
    return [with_home(value) for value in given] if isinstance(given, list | tuple) else given


def _with_packaged(args: Sequence[str]) -> list[str]:
    """The arguments with the path of a packaged YAML file for its name after ``--config``."""
    found = []
    for before, arg in zip(("", *args), args, strict=False):
        flag, _, name = arg.partition("=") if arg.startswith("-") else (before, "", arg)
        packaged = CONFIGS / f"{name}.yaml"
        known = flag in ("--config", "-c") and name and packaged.is_file() and not Path(name).is_file()
        found.append(f"{arg.removesuffix(name)}{packaged}" if known else arg)
    return found


class OutputFile:
    """The type of an argument that names a file to write.

    Args:
        *endings: Those it may have, for example ``".csv", ".json"``.
    """

    def __init__(self, *endings: str) -> None:
        self.endings = endings

    def __repr__(self) -> str:
        return f"a {' or '.join(self.endings)} file"

    def __call__(self, path: str) -> str:
        """The path, where its ending is one of those and its folder exists."""
        if Path(path).suffix not in self.endings:
            raise argparse.ArgumentTypeError(f"expected {self!r}, got {path}")
        if not Path(path).parent.is_dir():
            raise argparse.ArgumentTypeError(f"expected a folder that exists, got {Path(path).parent}, for {path}")
        return path


def refuse_others(kept: Mapping[str, Any], typed: Mapping[str, Any], path: str | Path) -> None:
    """Refuses settings that differ from those a checkpoint was trained with, both by flag.

    Raises:
        UserError: One of ``kept`` was typed otherwise.
    """
    for flag, value in kept.items():
        same = flag == "model.architecture" and read_network(typed[flag]) == read_network(value)  # however written
        if typed[flag] != value and not same:
            raise UserError(
                f"--{flag}: {path} was trained with {value}, got {typed[flag]}; "
                "leave the flag out to go on with the checkpoint, or the checkpoint out to train anew"
            )
