"""How both command lines take arguments: one line on stderr for a mistake, with the name that was meant."""

import re
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

CONFIGS = Path(__file__).parent.parent / "configs"
"""Where the settings lie that ``--config NAME`` finds, as NAME.yaml."""


class OneLineErrors(ArgumentParser):
    """A jsonargparse parser that says a mistake in one line, without the usage, and exits with 2.

    A shortened or mistyped flag is refused with the nearest name; packaged settings are known by their names.
    """

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **({"allow_abbrev": False} | settings))

    def parse_args(self, args: Sequence[str] | None = None, *more: Any, **settings: Any) -> Any:  # type: ignore[override]
        """Parses the arguments, by default those of the process."""
        return super().parse_args(_with_packaged(sys.argv[1:] if args is None else args), *more, **settings)

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
