"""The stopwatch behind ``time/*`` and ``throughput/*``, used by both trainers."""

import time
from collections.abc import Mapping

from cnn_mnist.runs import tags

imported = time.perf_counter()
"""Start of the set-up time; a forked training resets it."""


class Stopwatch:
    """Measures wall-clock seconds of set-up and training, without evaluation.

    Args:
        started: ``time.perf_counter()`` at the start of the call; by default the import of this module, the first
            of a command.
    """

    def __init__(self, started: float | None = None) -> None:
        self._started = imported if started is None else started
        self._resumed: float | None = None
        self._epoch = 0.0
        self.fit_seconds = 0.0

    def resume(self) -> None:
        """Starts the clock, at the start of an epoch or after a validation; a second call does nothing."""
        if self._resumed is None:
            self._resumed = time.perf_counter()

    def pause(self) -> None:
        """Stops the clock, for a validation or at the end of an epoch; a second call does nothing."""
        if self._resumed is not None:
            self._epoch += time.perf_counter() - self._resumed
            self._resumed = None

    def state(self) -> dict[str, float]:
        """Returns the seconds of the current epoch and of all earlier ones, for a checkpoint."""
        running = 0.0 if self._resumed is None else time.perf_counter() - self._resumed
        return {"epoch": self._epoch + running, "fit": self.fit_seconds}

    def load_state(self, state: Mapping[str, float]) -> None:
        """Restores the result of ``state``."""
        self._epoch, self.fit_seconds = state["epoch"], state["fit"]

    def setup_done(self) -> dict[str, float]:
        """Returns the set-up time by its tag; call it after the first step."""
        return {tags.SETUP_SECONDS: time.perf_counter() - self._started}

    def epoch_done(self, images: int) -> dict[str, float]:
        """Ends an epoch and returns its time and throughput by tag.

        Args:
            images: Number of training images in the epoch.
        """
        self.pause()
        seconds, self._epoch = self._epoch, 0.0
        self.fit_seconds += seconds
        return {tags.EPOCH_SECONDS: seconds, tags.IMAGES_PER_SECOND: images / seconds}

    def fit_done(self) -> dict[str, float]:
        """Returns the time of the whole training by its tag."""
        return {tags.FIT_SECONDS: self.fit_seconds}
