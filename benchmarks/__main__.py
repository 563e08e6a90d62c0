"""``python -m benchmarks``: races the contestants in turns and prints medians and ratios.

Every round is written as it ends, and one that stands in the file already is not run again. ``digits`` is a benchmark
of its own: see ``python -m benchmarks digits --help``.
"""

import argparse
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks import digits, report
from benchmarks.race import run
from benchmarks.races import RACES
from cnn_mnist.data import mnist
from cnn_mnist.errors import one_line_errors


def main() -> None:
    """Reads the arguments, races, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("races", nargs="*", metavar="RACE", help=f"Of {', '.join(RACES)}; all by default.")
    parser.add_argument(
        "--rounds", type=int, default=3, help="Rounds of a race without a number of its own (default: 3)."
    )
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="Folder of the MNIST files.")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks.jsonl"), help="File of the rounds (default: benchmarks.jsonl)."
    )
    arguments = parser.parse_args()
    unknown = set(arguments.races) - RACES.keys()
    if unknown or arguments.rounds < 1:
        parser.error(f"expected 1 or more rounds of {', '.join(RACES)}, got {arguments.rounds} of {arguments.races}")

    with one_line_errors("python -m benchmarks"):
        mnist.load_mnist(arguments.data_dir)
        print(f"On {report.machine()}.", flush=True)
        for name in arguments.races or RACES:
            rounds = _read(arguments.output, name)
            try:
                _race(name, rounds, arguments)
            finally:  # a race that is interrupted shows the rounds it had
                if rounds:
                    print(f"\n{report.markdown(report.summarize(RACES[name], rounds))}", flush=True)


def _race(name: str, rounds: report.Rounds, arguments: argparse.Namespace) -> None:
    """Runs the rounds that are missing, and adds each to the others and to the file."""
    race = RACES[name]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(file=sys.stderr)) as bar:
        count = race.rounds or arguments.rounds
        task = bar.add_task(race.title, total=max(0, count - len(rounds)) * len(race.contestants))
        for number in range(len(rounds), count):
            figures = {}
            for contestant in race.contestants:
                bar.update(task, description=f"{race.title}: {contestant.name}")
                figures[contestant.name] = run(contestant, arguments.data_dir.resolve(), number)
                bar.advance(task)
            rounds.append(figures)
            line = {"machine": report.machine(), "race": name, "commands": _commands(name), "figures": figures}
            with arguments.output.open("a") as file:
                file.write(f"\n{json.dumps(line)}")  # a line of its own also behind half a line


def _read(path: Path, name: str) -> report.Rounds:
    """The rounds of a race that were run on a machine like this one, with the contestants of today."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else ():
        with suppress(ValueError):  # half a line, of a machine that died in it
            lines.append(json.loads(text))
    today = name, report.machine(), _commands(name)
    return [line["figures"] for line in lines if (line["race"], line["machine"], line.get("commands")) == today]


def _commands(name: str) -> dict[str, list[Any]]:
    """What each contestant of a race runs, with which variables and beside how many busy processes; as JSON has it."""
    return {one.name: [list(one.arguments), dict(one.environment), one.busy] for one in RACES[name].contestants}


if __name__ == "__main__":
    if sys.argv[1:2] == ["digits"]:
        digits.main(sys.argv[2:])
    else:
        main()
