"""A race: its contestants, and how one contestant runs in a separate process."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from keras_parity.logs.folders import find_folders
from keras_parity.logs.run import read_run

_COUNTS = "import os, sys\nwhile os.getppid() == int(sys.argv[1]): sum(range(10**6))"
"""A busy process; it ends with the process that started it (its argument), even if that is killed."""

PROJECT = Path(__file__).parent.parent
Figures = dict[str, float]
"""The figures that a process printed as JSON or logged by tag, and its ``wall_seconds`` and ``peak_bytes``."""


@dataclass(frozen=True)
class Contestant:
    """One process.

    Attributes:
        name: Name in tables.
        arguments: Arguments of ``python``; ``{data}``, ``{log}`` and ``{round}`` are replaced by the data folder, a new
            log folder and the number of the round.
        figure: The figure to compare, or a function of all figures.
        environment: Environment variables to set.
        busy: Number of busy processes that run at the same time.
    """

    name: str
    arguments: tuple[str, ...]
    figure: str | Callable[[Figures], float] = "milliseconds"
    environment: Mapping[str, str] = field(default_factory=dict)
    busy: int = 0

    def value(self, figures: Figures) -> float:
        """The figure to compare."""
        return figures[self.figure] if isinstance(self.figure, str) else self.figure(figures)


@dataclass(frozen=True)
class Ratio:
    """One contestant's figure over another's in the same round."""

    name: str
    over: str


@dataclass(frozen=True)
class Race:
    """Contestants that run one after another in each round.

    Attributes:
        title: Heading of the table.
        unit: Unit of the figures.
        contestants: The contestants, in the order of a round.
        ratios: The ratios of the second table.
        rounds: Number of rounds; None for that of the command line.
        also: Further figures, shown as means over the rounds.
    """

    title: str
    unit: str
    contestants: tuple[Contestant, ...]
    ratios: tuple[Ratio, ...] = ()
    rounds: int | None = None
    also: tuple[str, ...] = ()


def run(contestant: Contestant, data_dir: Path, number: int) -> Figures:
    """Runs a contestant once.

    Args:
        contestant: The contestant.
        data_dir: Folder of the MNIST files.
        number: Number of the round.

    Returns:
        Its figures.

    Raises:
        RuntimeError: The process failed; the message has the end of its output.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        for _ in range(contestant.busy):
            busy = subprocess.Popen([sys.executable, "-c", _COUNTS, str(os.getpid())])
            stack.callback(stack.enter_context(busy).kill)
        log = Path(folder, "log")
        arguments = [part.format(data=data_dir, log=log, round=number) for part in contestant.arguments]
        output = Path(folder, "output")
        start = time.perf_counter()
        with output.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=PROJECT,
                env=os.environ | contestant.environment,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
            _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        lines = output.read_text(errors="replace").splitlines()
        if process.returncode != 0:
            raise RuntimeError(f"{contestant.name}: {' '.join(arguments)} failed: " + " ".join(lines[-3:]))
        figures: Figures = {"wall_seconds": wall, "peak_bytes": usage.ru_maxrss * 1024}
        figures |= json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
        if log.exists():
            (run_folder,) = find_folders([f"{log}/*/version_*"])
            points = read_run(run_folder).points
            return figures | {tag: values[-1].value for tag, values in points.items()}
        return figures
