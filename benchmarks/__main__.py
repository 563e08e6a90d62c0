"""``python -m benchmarks``: races the contestants in turns and prints medians and ratios."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks import report
from benchmarks.race import Race, run
from benchmarks.races import RACES
from cnn_mnist.data import mnist
from cnn_mnist.errors import one_line_errors


def main() -> None:
    """Reads the arguments, races, prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("races", nargs="*", metavar="RACE", help=f"Of {', '.join(RACES)}; all by default.")
    parser.add_argument("--rounds", type=int, default=5, help="Rounds of each race (default: 5).")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="Folder of the MNIST files.")
    parser.add_argument("--output", type=Path, help="File for the figures, as JSON, written after each round.")
    arguments = parser.parse_args()
    unknown = set(arguments.races) - RACES.keys()
    if unknown or arguments.rounds < 1:
        parser.error(f"expected 1 or more rounds of {', '.join(RACES)}, got {arguments.rounds} of {arguments.races}")

    with one_line_errors("python -m benchmarks"):
        mnist.load(arguments.data_dir)
        print(f"On {report.machine()}.", flush=True)
        summaries: dict[str, dict[str, Any]] = {}
        for name in arguments.races or RACES:
            try:
                for summary in _rounds(RACES[name], arguments):
                    summaries[name] = summary
                    _write(arguments.output, list(summaries.values()))
            finally:  # a race that is interrupted shows the rounds it had
                if name in summaries:
                    print(f"\n{report.markdown(summaries[name])}", flush=True)


def _rounds(race: Race, arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Races, and sums up after each round."""
    rounds: report.Rounds = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(file=sys.stderr)) as bar:
        count = race.rounds or arguments.rounds
        task = bar.add_task(race.title, total=count * len(race.contestants))
        for number in range(count):
            figures = {}
            for contestant in race.contestants:
                bar.update(task, description=f"{race.title}: {contestant.name}")
                figures[contestant.name] = run(contestant, arguments.data_dir.resolve(), number)
                bar.advance(task)
            rounds.append(figures)
            yield report.summarize(race, rounds)


def _write(output: Path | None, summaries: list[dict[str, Any]]) -> None:
    if output is not None:
        output.write_text(json.dumps({"machine": report.machine(), "races": summaries}, indent=2) + "\n")


if __name__ == "__main__":
    main()
