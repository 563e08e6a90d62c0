"""A training that is asked to stop: it ends the running step, keeps what it goes on from, and says how to go on."""

import shlex
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from cnn_mnist.errors import Terminated


def how_to_go_on(command: str, folder: str | Path, step: int) -> str:
    """What an interrupted training says."""
    return f"interrupted at step {step}; {command} --resume={shlex.quote(str(folder))} goes on"


class Stops:
    """Between ``start`` and ``end`` a first SIGINT or SIGTERM is noted alone; a second one acts as it did before.

    Attributes:
        came: The signal that was noted.
    """

    def __init__(self) -> None:
        self.came: int | None = None
        self._usual: dict[int, Any] = {}

    def start(self) -> None:
        """Notes from here on; does nothing outside the main thread, where Python takes no signals."""
        if threading.current_thread() is threading.main_thread() and not self._usual:
            self._usual = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(self) -> None:
        """Signals act as before."""
        while self._usual:
            signal.signal(*self._usual.popitem())

    def obey(self) -> None:
        """Raises ``KeyboardInterrupt``, or ``Terminated``, where a stop was asked for: all that is needed is kept."""
        if self.came is not None:
            raise (Terminated if self.came == signal.SIGTERM else KeyboardInterrupt)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.came = number
        self.end()
