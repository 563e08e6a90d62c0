"""What ``time/*`` and ``throughput/*`` mean: one stopwatch that both trainers drive."""

import time
from collections.abc import Mapping

from cnn_mnist.runs import tags

imported = time.perf_counter()
"""Where a set-up begins; a process that is forked to be a training sets it anew."""


class Stopwatch:
    """Wall-clock seconds of set-up and of training, evaluation left out.

    Args:
        started: ``time.perf_counter()`` at the start of the call; by default when this module was imported,
            which a command line does first.
    """

    def __init__(self, started: float | None = None) -> None:
        self._started = imported if started is None else started
        self._resumed: float | None = None
        self._epoch = 0.0
        self.fit_seconds = 0.0

    def resume(self) -> None:
        """Training begins or goes on, at the start of an epoch or after a validation; a second call does nothing."""
        if self._resumed is None:
            self._resumed = time.perf_counter()

    def pause(self) -> None:
        """Training stops for a validation or at the end of an epoch; a second call does nothing."""
        if self._resumed is not None:
            self._epoch += time.perf_counter() - self._resumed
            self._resumed = None

    def state(self) -> dict[str, float]:
        """Seconds of the epoch that runs and of those before it, for a training that goes on from here."""
        running = 0.0 if self._resumed is None else time.perf_counter() - self._resumed
        return {"epoch": self._epoch + running, "fit": self.fit_seconds}

    def go_on(self, state: Mapping[str, float]) -> None:
        """Goes on from what ``state`` gave."""
        self._epoch, self.fit_seconds = state["epoch"], state["fit"]

    def setup_done(self) -> dict[str, float]:
        """The tag of the set-up time, at the end of the first step."""
        return {tags.SETUP_SECONDS: time.perf_counter() - self._started}

    def epoch_done(self, images: int) -> dict[str, float]:
        """The tags of the epoch that ends here.

        Args:
            images: How many training images the epoch took.
        """
        self.pause()
        seconds, self._epoch = self._epoch, 0.0
        self.fit_seconds += seconds
        return {tags.EPOCH_SECONDS: seconds, tags.IMAGES_PER_SECOND: images / seconds}

    def fit_done(self) -> dict[str, float]:
        """The tag of the whole training."""
        return {tags.FIT_SECONDS: self.fit_seconds}
