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

_PARENT = "CNN_MNIST_PARENT"
"""Environment variable: the number of the process that started this one."""

_GRACE = 2.0
"""Seconds in which a process whose connections have closed is gone, and in which an error ends this one."""


def local_rank() -> int:
    """Returns this process's number on its machine, as its launcher says; 0 without one."""
    return int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)


def is_loss(error: BaseException) -> bool:
    """Returns whether an error says that another process of the training cannot be reached."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def refuse(trainer: Trainer, message: str) -> NoReturn:
    """Raises ``UserError`` in the first process, and silently ends the others, which find the same mistake."""
    if trainer.is_global_zero:
        raise UserError(message)
    sys.exit(1)


def name_parent() -> None:
    """Passes this process's ID to the processes that it starts, because it may be dead when they first check."""
    if "LOCAL_RANK" not in os.environ and local_rank() == 0:
        os.environ[_PARENT] = str(os.getpid())


class EndTogether(Callback):
    """Ends this process if the one that started it, or one that it started, has died.

    On a CPU a process sees that the connection is closed. On a GPU it would wait for the dead one for many minutes, and
    without its launcher it would train on.

    Args:
        trainer: The trainer; its processes have not met yet.
    """

    def __init__(self, trainer: Trainer) -> None:
        told = os.environ.get(_PARENT) if local_rank() else None
        self._parent, self._hint = int(told or os.getppid()), ""
        self._line = f"expected {trainer.world_size} processes to the end, lost at least one"
        self._start(trainer)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remembers how to resume, and watches again if another stage has ended before."""
        if trainer.world_size > 1 and (stage == "fit" or trainer.global_step):  # trains, or evaluates what it trained
            folder = trainer.strategy.broadcast(run_folder(trainer))
            self._hint = f"; resume with: python -m cnn_mnist fit --resume={shlex.quote(str(folder))}" * bool(folder)
        if self._over.is_set():
            self._start(trainer)

    def teardown(self, *args: Any, **kwargs: Any) -> None:
        """Stops watching."""
        self._over.set()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Ends the processes that this one started, and says in a note of the error that another one is lost."""
        self._over.set()
        for process in _children(trainer):
            process.kill()
        if is_loss(exception) and self._speaks(trainer):
            exception.add_note(self._line + self._hint)

    def _start(self, trainer: Trainer) -> None:
        self._over = threading.Event()
        if trainer.world_size > 1:
            threading.Thread(target=self._watch, args=[trainer], daemon=True).start()

    def _watch(self, trainer: Trainer) -> None:
        over = self._over
        while not over.wait(0.5):
            died = self._orphaned() or any(process.poll() for process in _children(trainer))
            if died and not over.wait(_GRACE):
                for process in _children(trainer):
                    process.kill()
                if self._speaks(trainer):
                    say(f"python -m cnn_mnist: error: {self._line}{self._hint}", sys.stderr)
                os._exit(1)

    def _orphaned(self) -> bool:
        return os.getppid() != self._parent

    def _speaks(self, trainer: Trainer) -> bool:
        """Whether this process prints for its machine: the first one, or the second if the first has died."""
        place = getattr(trainer.strategy, "cluster_environment", None)
        if local_rank() == 1 and isinstance(place, LightningEnvironment):  # the first is its parent
            end = time.monotonic() + _GRACE
            while not self._orphaned() and time.monotonic() < end:
                time.sleep(0.05)
            return self._orphaned()
        return local_rank() == 0


def _children(trainer: Trainer) -> list[Popen[bytes]]:
    """Returns the processes that Lightning's launcher started in this one."""
    started = getattr(trainer.strategy.launcher, "procs", [])
    return [process for process in started if isinstance(process, Popen)]
