"""How both command lines take arguments: one line on stderr for a mistake, with the name that was meant."""

import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

from cnn_mnist.errors import UserError

CONFIGS = Path(__file__).parent.parent / "configs"
"""Where the settings lie that ``--config NAME`` finds, as NAME.yaml."""


class OneLineErrors(ArgumentParser):
    """A jsonargparse parser that says a mistake in one line, without the usage, and exits with 2.

    A shortened or mistyped flag is refused with the nearest name; packaged settings are known by their names; a
    flag of ``add_switch`` is true when it stands without a value.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **({"allow_abbrev": False} | settings))
        self._switches = set[str]()

    def add_switch(self, flag: str, help: str, default: bool | None = False) -> None:
        """Adds a flag that is true or false, or true where it is bare."""
        self.add_argument(flag, type=bool | None if default is None else bool, default=default, help=help)
        self._switches.add(flag)

    def parse_args(self, args: Sequence[str] | None = None, *more: Any, **settings: Any) -> Any:  # type: ignore[override]
        """Parses the arguments, by default those of the process."""
        typed = [f"{arg}=true" if arg in self._switches else arg for arg in (sys.argv[1:] if args is None else args)]
        return super().parse_args(_with_packaged(typed), *more, **settings)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the message on one line, with the flag that was meant, and exits with 2."""
        program = self.prog.replace(" [options]", "").replace("__main__.py", "python -m cnn_mnist")
        unknown = re.search(r"unrecognized arguments: (--[^\s=]+)", message)
        meant = nearest(unknown[1], self._option_string_actions) if unknown else ""
        print(f"{program}: error: {' '.join(message.split())}{meant} (see --help)", file=sys.stderr)
        raise SystemExit(2)


def nearest(typed: str, known: Iterable[str]) -> str:
    """``"; did you mean ...?"`` with the known name that is most like the typed one; empty where none is."""
    found = get_close_matches(typed, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


class OutputFile:
    """A type for arguments: the path of a file to write, refused where it has another ending or no folder.

    Args:
        *endings: What it may end in, ``".csv"``.
    """

    def __init__(self, *endings: str) -> None:
        self.endings = endings

    def __repr__(self) -> str:
        return f"file that ends in {' or '.join(self.endings)}"

    def __call__(self, text: str) -> str:
        """Gives the path back."""
        if not text.endswith(self.endings):
            raise ArgumentTypeError(f"expected a {self!r}, got {text}")
        if not Path(text).parent.is_dir():
            raise ArgumentTypeError(
                f"expected a folder that exists, got {Path(text).parent}, for {text}; make it first"
            )
        return text


def refuse_others(kept: dict[str, Any], typed: Any, path: object) -> None:
    """Raises ``UserError`` where a setting is typed otherwise than a checkpoint was trained with.

    Args:
        kept: The checkpoint's settings, by flag.
        typed: What was parsed, by flag.
        path: The checkpoint.
    """
    for flag, value in kept.items():
        if typed[flag] != value:
            raise UserError(
                f"--{flag}: {path} was trained with {value}, got {typed[flag]}; "
                "leave the flag out to go on with the checkpoint, or the checkpoint out to train anew"
            )


def _with_packaged(args: Sequence[str]) -> list[str]:
    """The arguments with the path of a packaged YAML file for its name after ``--config``."""
    found = []
    for before, arg in zip(("", *args), args, strict=False):
        flag, _, name = arg.partition("=") if arg.startswith("-") else (before, "", arg)
        packaged = CONFIGS / f"{name}.yaml"
        known = flag in ("--config", "-c") and name and packaged.is_file() and not Path(name).is_file()
        found.append(f"{arg.removesuffix(name)}{packaged}" if known else arg)
    return found


def names_files(args: list[str]) -> bool:
    """Whether an argument is neither a flag nor a flag's value; every flag takes one, after = or a space."""
    return any(
        not arg.startswith("-") and ("=" in before or not before.startswith("-"))
        for before, arg in pairwise(["", *args])
    )
