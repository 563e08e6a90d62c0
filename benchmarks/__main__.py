"""``python -m benchmarks``: runs the contestants of each race in rounds, and prints medians and ratios.

Every round is saved when it ends, and saved rounds are not repeated. ``digits`` is a separate benchmark: see
``python -m benchmarks digits --help``.
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
    """Reads the arguments, runs the races, and prints their tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("races", nargs="*", metavar="RACE", help=f"One of {', '.join(RACES)}; default: all.")
    parser.add_argument(
        "--rounds", type=int, default=3, help="Rounds of each race, unless the race fixes them (default: 3)."
    )
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="Folder of the MNIST files.")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("benchmarks.jsonl"),
        help="File to save the rounds in (default: benchmarks.jsonl).",
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
            finally:  # an interrupted race prints its finished rounds
                if rounds:
                    print(f"\n{report.markdown(report.summarize(RACES[name], rounds))}", flush=True)


def _race(name: str, rounds: report.Rounds, arguments: argparse.Namespace) -> None:
    """Runs the missing rounds, and saves each."""
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
                file.write(f"\n{json.dumps(line)}")  # starts a new line even after a truncated one


def _read(path: Path, name: str) -> report.Rounds:
    """The saved rounds of a race from an equal machine with the same commands."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else ():
        with suppress(ValueError):  # a truncated line of an interrupted run
            lines.append(json.loads(text))
    wanted = name, report.machine(), _commands(name)
    return [line["figures"] for line in lines if (line["race"], line["machine"], line.get("commands")) == wanted]


def _commands(name: str) -> dict[str, list[Any]]:
    """The command, environment and number of busy processes of each contestant, as JSON stores them."""
    return {one.name: [list(one.arguments), dict(one.environment), one.busy] for one in RACES[name].contestants}


if __name__ == "__main__":
    if sys.argv[1:2] == ["digits"]:
        digits.main(sys.argv[2:])
    else:
        main()
