"""The argument parser of both packages: a mistake is one line on stderr that suggests the nearest name."""

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

from cnn_mnist.console.known_classes import ALLOW, known_classes_only
from cnn_mnist.console.plain_message import plain_message
from cnn_mnist.errors import nearest
from cnn_mnist.neutral import say
from cnn_mnist.runs.folder import STUDY
from cnn_mnist.settings import SEED
from cnn_mnist.yaml_files import check_aliases

CONFIGS = Path(__file__).parent.parent / "configs"
"""Folder of the packaged settings: ``--config NAME`` reads NAME.yaml."""

SEED_FLAG: Mapping[str, Any] = {
    "type": int,
    "default": SEED,
    "help": "Seed of initial weights, image order, validation split, dropout and augmentation, at least 0.",
}
"""Arguments of ``add_argument`` for ``--seed_everything``."""

_GROUPS = ("--model", "--data", "--trainer")
"""Flags that read a group of settings from a file."""

_NO_YAML = (yaml.YAMLError, AttributeError, KeyError, RecursionError, ValueError)
"""Errors of reading YAML; the last four come from PyYAML on an impossible date or an unsuitable tag."""

_read_yaml = get_loader("yaml")


def _load(text: str) -> Any:
    check_aliases(text)
    return _read_yaml(text)


set_loader("yaml", _load, _NO_YAML)  # applies to every source of settings: files, strings, environment variables, flags


class OneLineErrors(ArgumentParser):
    """A jsonargparse parser that reports a mistake in one line, without the usage, and exits with 2.

    It refuses an abbreviated or mistyped flag and suggests the nearest; ``--config`` also takes packaged names. A typed
    flag overrides a settings file on either side of it; of two files, the later one counts.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        self._switches: set[str] = set()
        super().__init__(*args, **({"allow_abbrev": False} | settings))

    def add_switch(self, name: str, help: str) -> None:
        """Adds a flag that is true without a value, and None if it is not given."""
        self._switches.add(name)
        self.add_argument(name, type=bool, default=None, help=help)

    def add_some(self, kind: type, group: str, *names: str) -> None:
        """Adds flags for the named settings of a class only."""
        self.add_class_arguments(kind, group, skip={entry.name for entry in fields(kind)}.difference(names))

    def parse_args(self, args: Sequence[str], *more: Any, **settings: Any) -> Any:  # type: ignore[override]
        """Parses the arguments."""
        expanded = _expand_packaged(expand_home(args))
        typed = [arg for arg in expanded if arg != ALLOW]
        for place, (arg, value) in enumerate(zip(typed, [*typed, ""][1:], strict=True)):
            if arg in self._switches and value.lower() not in ("true", "false"):
                typed[place] = f"{arg}=true"
        files, others = _split_files(typed) if "--data" in self._option_string_actions else ([], typed)
        typed = [*(f"{flag}={value}" for flag, value in files), *others]
        try:
            for flag, value in files:
                if flag in _GROUPS:
                    self._check_group(flag, value)
            with known_classes_only(None if ALLOW in expanded else self.error):
                # The settings classes do not take what jsonargparse notes about files, such as their paths.
                return super().parse_args(typed, *more, **settings).clone(with_meta=False)
        except UnicodeDecodeError as error:
            self.error(f"expected settings in UTF-8, got {error}; save the file in UTF-8")

    def _check_group(self, flag: str, value: str) -> None:
        """Ends with an error unless a group's file exists and leaves the seed to ``--seed_everything``."""
        try:
            if isinstance(content := _load(value), str):
                if not Path(value).is_file():
                    reason = "is a folder" if Path(value).is_dir() else "does not exist"
                    self.error(f"{flag}: expected a file of settings, got {value}, which {reason}")
                content = _load(Path(value).read_text(encoding="utf-8"))
            if isinstance(content, dict) and "seed" in content and "--seed_everything" in self._option_string_actions:
                came = f"seed={content['seed']} in {value}; use --seed_everything, and remove it there"
                self.error(f"{flag}: expected one seed for model and data, got {came}")
        except UnicodeDecodeError:
            self.error(f"{flag}: expected a file of settings, got {value}, which is no text; --data.file takes images")
        except _NO_YAML:
            pass  # jsonargparse reports the error

    def rewritten(self, config: dict[str, Any]) -> dict[str, Any]:
        """Adapts the content of a configuration file to this parser; unchanged by default."""
        return config

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Any:
        """Reads a configuration file."""
        try:
            config = _load(content)
        except _NO_YAML:
            config = None  # jsonargparse reports the error
        own = {name: value for name, value in config.items() if name != STUDY} if isinstance(config, dict) else None
        if own is not None and (changed := expand_home(self.rewritten(own))) != config:
            content = yaml.safe_dump(changed, sort_keys=False)
        return super().parse_string(content, *args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the message on one line, with the nearest flag for an unknown one, and exits with 2."""
        program = self.prog.replace(" [options]", "")
        unknown = re.search(r"unrecognized arguments: (--[^\s=]+)", message)
        meant = nearest(unknown[1], self._option_string_actions) if unknown else ""
        say(f"{program}: error: {plain_message(message)}{meant} (see --help)", sys.stderr)
        raise SystemExit(2)


def expand_home(value: Any) -> Any:
    """Replaces a leading ``~`` by the home folder in arguments or a configuration, as a shell does."""
    if isinstance(value, Mapping):
        return {name: expand_home(entry) for name, entry in value.items()}
    if isinstance(value, str):
        flag, equals, path = value.partition("=") if value.startswith("-") else ("", "", value)
        return f"{flag}{equals}{os.path.expanduser(path)}"
    return [expand_home(entry) for entry in value] if isinstance(value, list | tuple) else value


def _expand_packaged(args: Sequence[str]) -> list[str]:
    """Replaces the name of packaged settings after ``--config`` by the path of their file."""
    found = []
    for before, arg in zip(("", *args), args, strict=False):
        flag, _, name = arg.partition("=") if arg.startswith("-") else (before, "", arg)
        packaged = CONFIGS / f"{name}.yaml"
        known = flag in ("--config", "-c") and name and packaged.is_file() and not Path(name).is_file()
        found.append(f"{arg.removesuffix(name)}{packaged}" if known else arg)
    return found


def read_early(args: Sequence[str], *flags: str, kind: type = str) -> tuple[dict[str, Any], list[str]]:
    """Takes some flags out of arguments before the others are parsed.

    Args:
        args: The arguments.
        *flags: The flags, without ``--``.
        kind: Type of their values.

    Returns:
        The value of each flag, None if it is not given; and the other arguments.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for flag in flags:
        parser.add_argument(f"--{flag}", type=kind, dest=flag)
    known, rest = parser.parse_known_args(args)
    return vars(known), rest


def _split_files(args: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Splits arguments into those that read a settings file, as flag and value, and the others."""
    files, others, rest = list[tuple[str, str]](), list[str](), iter(args)
    for arg in rest:
        flag, equals, value = arg.partition("=")
        if flag in ("--config", "-c", *_GROUPS) and (value := value if equals else next(rest, "")):
            files.append((flag, value))
        else:
            others.append(arg)
    return files, others


class OutputFile:
    """Type of an argument that names an output file.

    Args:
        *endings: Valid endings, for example ``".csv", ".json"``.
    """

    def __init__(self, *endings: str) -> None:
        self.endings = endings

    def __repr__(self) -> str:
        return f"a {' or '.join(self.endings)} file"

    def __call__(self, path: str) -> str:
        """Returns the path if its ending is valid and its folder exists."""
        if Path(path).suffix not in self.endings:
            raise argparse.ArgumentTypeError(f"expected {self!r}, got {path}")
        if not Path(path).parent.is_dir():
            raise argparse.ArgumentTypeError(f"expected a folder that exists, got {Path(path).parent}, for {path}")
        return path
