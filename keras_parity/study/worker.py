"""What a study runs on a node of a cluster: a slot that trains one run at a time, on cores of its own."""

import io
import os
import shutil
import signal
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from cnn_mnist.errors import UserError
from cnn_mnist.runs.folder import LOG_DIR
from keras_parity.study.runner import Runner


class Worker:
    """A slot of a node. Its trainings are forked as in a study on one machine, and die with it."""

    def enter(self, number: int, cores: int, folder: str, marker: str) -> tuple[int, bool]:
        """Takes its cores, and the folder of the study or, if the node does not have it, a new one.

        Args:
            number: Which slot of its node it is, from 0.
            cores: Cores of each slot.
            folder: Where the study was started.
            marker: Absolute path of a file in the log folder, which exists on nodes that share it.

        Returns:
            The process group of the slot, and whether the node shares the log folder.

        Raises:
            UserError: The node has fewer cores than Ray was started with.
        """
        self._shares = Path(marker).exists()
        os.chdir(folder if self._shares else tempfile.mkdtemp(prefix="study-"))
        if sys.platform == "linux":
            usable = sorted(os.sched_getaffinity(0))
            own = usable[number * cores : (number + 1) * cores]
            if len(own) < cores:
                came = f"{os.uname().nodename} with {len(usable)}; start Ray there with --num-cpus={len(usable)}"
                raise UserError(f"expected a node with {(number + 1) * cores} cores, got {came}")
            os.sched_setaffinity(0, own)
        if os.getpgrp() != os.getpid():
            os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the training, see interrupt
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # Ray blocks it, and children inherit that
        self._runner = Runner()
        return os.getpid(), self._shares

    def train(self, framework: str, command: list[str]) -> tuple[str, float, bytes]:
        """Runs a training to its end.

        Args:
            framework: What a server has to import for the command.
            command: Path of Python on another node, ``"-m"``, package and arguments.

        Returns:
            The last line that it prints; the seconds that it took; and its run folders as a tar archive, empty if the
            node shares the log folder.
        """
        start = time.monotonic()
        reason = self._runner.run(framework, [sys.executable, *command[1:]])
        return reason, time.monotonic() - start, b"" if self._shares else _packed(Path(LOG_DIR, framework))


def interrupt(group: int) -> None:
    """Makes the training of a slot on this node save its step and stop.

    Args:
        group: The process group of the slot.
    """
    os.killpg(group, signal.SIGINT)


def _packed(folder: Path) -> bytes:
    """Moves the content of a folder into a tar archive."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for run in sorted(folder.glob("version_*")):
            archive.add(run, run.name)
            shutil.rmtree(run)
    return content.getvalue()
