"""Ends all processes of a training, with one line, if one of them ends."""

import os
import shlex
import sys
import threading
import time
from subprocess import Popen
from typing import Any, NoReturn

import torch.distributed as dist
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer

from cnn_mnist.errors import UserError
from cnn_mnist.neutral import say
from cnn_mnist.pytorch.logger import run_folder

_PARENT = os.getppid()

_GRACE = 2.0
"""Seconds in which a process whose connections have closed is gone, and in which an error ends this one."""


def local_rank() -> int:
    """Returns this process's number on its machine, as its launcher says; 0 without one."""
    return int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)


def is_loss(error: BaseException) -> bool:
    """Returns whether an error says that another process of the training cannot be reached."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def refuse(trainer: Trainer, message: str) -> NoReturn:
    """Raises ``UserError`` in the first process, and ends the others, which find the same, without a word."""
    if trainer.is_global_zero:
        raise UserError(message)
    sys.exit(1)


class EndTogether(Callback):
    """Ends this process if the one that started it, or one that it started, has died.

    On a CPU a process sees that the connection is closed. On a GPU it would wait for the dead one for many minutes, and
    without its launcher it would train on.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Starts to watch."""
        self._over = threading.Event()
        self._line = ""
        if trainer.world_size > 1:
            trains = stage == "fit" or trainer.global_step  # or evaluates what it has trained
            folder = trainer.strategy.broadcast(run_folder(trainer)) if trains else None
            hint = f"; resume with: python -m cnn_mnist fit --resume={shlex.quote(str(folder))}" if folder else ""
            self._line = f"expected {trainer.world_size} processes to the end, lost at least one{hint}"
            threading.Thread(target=self._watch, args=[trainer], daemon=True).start()

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        """Stops to watch."""
        self._over.set()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Ends the processes that this one started, and says in a note of the error that another one is lost."""
        self._over.set()
        for process in _children(trainer):
            process.kill()
        if is_loss(exception) and _speaks(trainer):
            exception.add_note(self._line)

    def _watch(self, trainer: Trainer) -> None:
        while not self._over.wait(0.5):
            died = os.getppid() != _PARENT or any(process.poll() for process in _children(trainer))
            if died and not self._over.wait(_GRACE):
                if _speaks(trainer):
                    say(f"python -m cnn_mnist: error: {self._line}", sys.stderr)
                os._exit(1)


def _children(trainer: Trainer) -> list[Popen[bytes]]:
    """Returns the processes that Lightning's launcher started in this one."""
    started = getattr(trainer.strategy.launcher, "procs", [])
    return [process for process in started if isinstance(process, Popen)]


def _speaks(trainer: Trainer) -> bool:
    """Whether this process is the one on its machine that prints: the first, or the second if the first has died."""
    if local_rank() == 1 and isinstance(getattr(trainer.strategy, "cluster_environment", None), LightningEnvironment):
        end = time.monotonic() + _GRACE
        while os.getppid() == _PARENT and time.monotonic() < end:  # its parent, the first
            time.sleep(0.05)
        return os.getppid() != _PARENT
    return local_rank() == 0
