"""The progress bar of both trainers: one line for each epoch, and one for an evaluation while it lasts."""

from collections.abc import Mapping

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

EVERY = 20
"""Steps between two moves of an epoch's line; a move at each step would take longer than anybody can look."""

_WORDS = {"train/loss": "loss", "train/acc": "acc", "val/loss": "val", "val/acc": ""}


class Bar:
    """Draws the lines, in at most 80 columns; what is drawn stays when it stops, but for evaluations.

    Args:
        enabled: Whether anything is drawn.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self._progress: Progress | None = None
        self._lines: list[TaskID] = []

    def start(self, title: str, steps: int) -> None:
        """Adds a line of so many steps."""
        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=12),
                MofNCompleteColumn(),
                TimeRemainingColumn(compact=True, elapsed_when_finished=True),
                TextColumn("{task.fields[figures]}"),
                refresh_per_second=4,
                disable=not self.enabled,
            )
            self._progress.start()
        self._lines.append(self._progress.add_task(title, total=steps, figures=""))

    def move(self, done: int, figures: Mapping[str, float] | None = None) -> None:
        """Moves the newest line to so many steps, and shows its figures, by tag."""
        if self._progress is not None:
            words = (f"{_WORDS[tag]} {value:.4f}" for tag, value in (figures or {}).items())
            self._progress.update(self._lines[-1], completed=done, figures=" ".join(words).replace("  ", " "))

    def advance(self) -> None:
        """Moves the newest line by one step."""
        if self._progress is not None:
            self._progress.advance(self._lines[-1])

    def drop(self) -> None:
        """Takes the newest line away."""
        if self._progress is not None:
            self._progress.remove_task(self._lines.pop())

    def stop(self) -> None:
        """Gives the terminal back."""
        if self._progress is not None:
            self._progress.stop()
        self._progress = None
