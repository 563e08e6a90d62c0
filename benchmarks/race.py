"""A race: what takes part, and one contestant's run in a process of its own."""

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
"""A busy process, which ends with the one that started it (its argument), also where that is killed at once."""

PROJECT = Path(__file__).parent.parent
Figures = dict[str, float]
"""What a process gave: what it printed as JSON or logged by tag, and ``wall_seconds`` and ``peak_bytes``."""


@dataclass(frozen=True)
class Contestant:
    """One process.

    Attributes:
        name: How tables call it.
        arguments: After ``python``; ``{data}``, ``{log}`` and ``{round}`` stand for the data folder, a new log folder
            and the number of the round.
        figure: The figure that it is raced by, or a function of its figures.
        environment: Variables that are set for it.
        busy: Processes that count beside it, without an end.
    """

    name: str
    arguments: tuple[str, ...]
    figure: str | Callable[[Figures], float] = "milliseconds"
    environment: Mapping[str, str] = field(default_factory=dict)
    busy: int = 0

    def value(self, figures: Figures) -> float:
        """The figure that it is raced by."""
        return figures[self.figure] if isinstance(self.figure, str) else self.figure(figures)


@dataclass(frozen=True)
class Ratio:
    """One contestant's figure over another's in the same round."""

    name: str
    over: str


@dataclass(frozen=True)
class Race:
    """What is compared in turns.

    Attributes:
        title: Heading of its table.
        unit: Of its figures.
        contestants: In the order of a round.
        ratios: What its second table shows.
        rounds: How many; None for as many as the command asks for.
        also: Other figures that are shown as means over the rounds.
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
        contestant: Which.
        data_dir: Folder of the MNIST files.
        number: The round.

    Raises:
        RuntimeError: Its process failed; with the end of what it printed.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as beside:
        for _ in range(contestant.busy):
            busy = subprocess.Popen([sys.executable, "-c", _COUNTS, str(os.getpid())])
            beside.callback(beside.enter_context(busy).kill)
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
