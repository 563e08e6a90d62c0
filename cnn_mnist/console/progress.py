"""Progress on a terminal: the epochs of both trainers, and a line for any other long work."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from importlib.util import find_spec
from math import isfinite
from typing import Any

from rich import get_console
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

EVERY = 20
"""Steps between two updates of an epoch's line; more frequent ones cost time and are not visible."""

_WORDS = {"train/loss": "loss", "train/acc": "acc", "val/loss": "val", "val/acc": ""}


def progress(*columns: ProgressColumn, **options: Any) -> Progress:
    """Returns rich's progress bar; it redirects only terminals, because it would also capture output to ``> FILE``.

    Args:
        columns: As rich takes them.
        options: As rich takes them.
    """
    out, error = sys.stdout.isatty(), sys.stderr.isatty()
    return Progress(*columns, redirect_stdout=out, redirect_stderr=error, **options)


@contextmanager
def status(text: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """Draws a line on stderr while the block runs, if that is a terminal.

    Args:
        text: Its first words.
        total: The number of steps; None if unknown.

    Yields:
        A function that updates the line: ``description=``, ``completed=``.
    """
    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=12), TimeElapsedColumn()
    with progress(*columns, console=console, transient=True, disable=not console.is_terminal) as drawn:
        yield partial(drawn.update, drawn.add_task(text, total=total))


class Bar:
    """Draws the lines in at most 80 columns. Epochs stay on the screen, evaluations disappear.

    A notebook without ipywidgets cannot redraw a line, so there each finished epoch is printed.

    Args:
        enabled: Whether anything is drawn.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self._lines: list[TaskID] = []

    @cached_property
    def _progress(self) -> Progress:
        """What draws the lines, from the first one to ``stop``."""
        self._prints = self.enabled and get_console().is_jupyter and not find_spec("ipywidgets")
        drawn = progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[figures]}"),
            refresh_per_second=4,
            disable=self._prints or not self.enabled,
        )
        drawn.start()
        return drawn

    def start(self, title: str, steps: float) -> None:
        """Adds a line.

        Args:
            title: Its first words, for example ``epoch 1/10``.
            steps: Its total number of steps; infinity if unknown.
        """
        self._lines.append(self._progress.add_task(title, total=int(steps) if isfinite(steps) else None, figures=""))

    def move(self, done: int, figures: Mapping[str, float] | None = None) -> None:
        """Updates the newest line.

        Args:
            done: Steps done.
            figures: Loss and accuracy by tag, shown after the bar.
        """
        words = (f"{_WORDS[tag]} {value:.4f}" for tag, value in (figures or {}).items())
        self._progress.update(self._lines[-1], completed=done, figures=" ".join(words).replace("  ", " "))

    def finish(self, done: int, figures: Mapping[str, float]) -> None:
        """Shows the figures of a finished epoch; arguments as in ``move``."""
        self.move(done, figures)
        if self._prints:
            task = self._progress.tasks[-1]
            steps = f"{done}/{done if task.total is None else int(task.total)}"
            print(f"{task.description}  {steps}  {task.elapsed or 0:.0f} s  {task.fields['figures']}")

    def advance(self) -> None:
        """Advances the newest line by one step."""
        self._progress.advance(self._lines[-1])

    def drop(self) -> None:
        """Removes the newest line."""
        self._progress.remove_task(self._lines.pop())

    def stop(self) -> None:
        """Ends the drawing."""
        if "_progress" in vars(self):
            self._progress.stop()
            del self._progress
