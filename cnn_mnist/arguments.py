"""How both command lines read arguments: one line on stderr for a mistake.

Ground floor, with jsonargparse: imported by the command lines.
"""

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ArgumentParser

CONFIGS = Path(__file__).parent / "configs"
"""Where the settings lie that ``--config NAME`` finds, as NAME.yaml."""


class OneLineErrors(ArgumentParser):
    """A jsonargparse parser that says a mistake in one line, without the usage, and exits with 2.

    It knows the packaged settings by their names.
    """

    def parse_args(self, args: Sequence[str] | None = None, *more: Any, **settings: Any) -> Any:  # type: ignore[override]
        """Parses the arguments, by default those of the process."""
        return super().parse_args(_with_packaged(sys.argv[1:] if args is None else args), *more, **settings)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Prints the message on one line and exits with 2."""
        program = self.prog.replace(" [options]", "").replace("__main__.py", "python -m cnn_mnist")
        print(f"{program}: error: {' '.join(message.split())} (see --help)", file=sys.stderr)
        raise SystemExit(2)


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
