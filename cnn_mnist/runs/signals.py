"""Stops a training on a signal: the running step ends, a checkpoint is saved, and the command to resume is printed."""

import shlex
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from cnn_mnist.errors import Terminated


def resume_hint(command: str, folder: str | Path, step: int) -> str:
    """The message of an interrupted training.

    Args:
        command: The command that trains, for example ``"python -m cnn_mnist fit"``.
        folder: The run folder.
        step: Optimizer updates done.
    """
    return f"interrupted at step {step}; resume with: {command} --resume={shlex.quote(str(folder))}"


class StopRequest:
    """Between ``start`` and ``end`` the first SIGINT or SIGTERM is only recorded; the second acts immediately.

    Attributes:
        requested: The recorded signal; None before it.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._previous: dict[int, Any] = {}

    def start(self) -> None:
        """Records signals from here on; does nothing outside the main thread, where Python receives no signals."""
        if threading.current_thread() is threading.main_thread() and not self._previous:
            self._previous = {number: signal.signal(number, self._record) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(self) -> None:
        """Restores the previous signal handlers."""
        while self._previous:
            signal.signal(*self._previous.popitem())

    def raise_if_requested(self) -> None:
        """Raises the recorded signal; call it after a checkpoint has been saved.

        Raises:
            KeyboardInterrupt: SIGINT was recorded.
            Terminated: SIGTERM was recorded.
        """
        if self.requested is not None:
            raise (Terminated if self.requested == signal.SIGTERM else KeyboardInterrupt)

    def _record(self, number: int, frame: FrameType | None) -> None:
        self.requested = number
        self.end()
