"""The pool of a Ray cluster: a slot trains one run at a time, on cores or a GPU of its own."""

import io
import os
import tarfile
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnn_mnist.neutral import say
from cnn_mnist.runs.folder import LOG_DIR, new_run_folder
from keras_parity.logs.run import Run
from keras_parity.settings import TrainerSettings
from keras_parity.study.jobs import Job
from keras_parity.study.nodes import Nodes, Slot
from keras_parity.study.runner import SECONDS_TO_STOP
from keras_parity.study.trainings import Ended
from keras_parity.study.worker import interrupt

_SECONDS_TO_LOOK = 5  # for nodes that have joined, or died


@dataclass(frozen=True)
class _Task:
    job: Job
    resumes: bool
    start: float


class Cluster:
    """The slots of a Ray cluster; nodes may join and leave.

    Args:
        address: ``"local"`` for a cluster on this machine that ends with the pool, or the address of a running one.
        cores: Cores of each slot; None for all of a node, or its share of them per GPU.
        trainer: Settings of the runs: their device and the log folder.

    Raises:
        UserError: There is no such cluster, or no slot in it.
    """

    def __init__(self, address: str, cores: int | None, trainer: TrainerSettings) -> None:
        self._log_dir = trainer.log_dir
        self._marker = tempfile.NamedTemporaryFile(dir=trainer.log_dir, prefix=".study.")  # noqa: SIM115 - see close
        self._idle: list[Slot] = []
        self._busy: dict[Future[Any], tuple[Slot, _Task | None]] = {}  # None: it starts
        self._waits = False
        self._nodes = Nodes(address, cores, trainer.accelerator)
        try:
            self._nodes.connect()
            self._look_round("none")
        except BaseException:
            self.close()
            raise

    @property
    def has_room(self) -> bool:
        """Whether a slot is free."""
        return bool(self._idle)

    def start(self, job: Job, cut: Run | None) -> None:
        """Starts a training on a free slot. A node that does not share the log folder cannot resume a run."""
        slot, there = self._idle.pop(0), job
        if not slot.shares:
            there, cut = replace(job, trainer=replace(job.trainer, log_dir=LOG_DIR)), None
        answer = slot.worker.train.remote(job.framework, job.resume(cut) or there.command)
        self._busy[answer.future()] = slot, _Task(job, bool(cut), time.monotonic())

    def wait(self) -> Ended | None:
        """Waits until a training has ended, a slot is free, or nodes may have joined.

        Raises:
            UserError: No node can train.
        """
        try:
            ended, _ = wait(self._busy, _SECONDS_TO_LOOK, FIRST_COMPLETED)  # Ray's own would lose the kind of signal
            if ended:
                return self._end(ended.pop())
            if not (self._waits or any(slot.group for slot in self._nodes.slots.values())):
                self._waits = True
                say("waiting for free cores on the cluster")
            self._look_round("no node process of Ray here")
            return None
        except KeyboardInterrupt:
            self._interrupt()
            raise

    def close(self) -> None:
        """Ends the workers with their trainings, and a local cluster."""
        self._nodes.close()
        self._marker.close()

    def _end(self, answered: "Future[Any]") -> Ended | None:
        """What a worker answered, or that it died."""
        from ray.exceptions import RayActorError, RayTaskError

        slot, task = self._busy.pop(answered)
        try:
            answer = answered.result()
        except RayActorError as error:
            self._nodes.lose(slot)
            why = "" if task else f" ({str(error).strip().splitlines()[-1]})"
            self._look_round(f"a worker on {slot.host} that died{why}")
            if not task:
                return None
            took = time.monotonic() - task.start
            return Ended(task.job, f"its worker on {slot.host} died", took, task.resumes, lost=True)
        except RayTaskError as error:
            raise error.cause from None
        self._idle.append(slot)
        if not task:
            slot.group, slot.shares = answer
            return None
        self._nodes.deaths.clear()
        reason, seconds, folders = answer
        _unpack(folders, self._log_dir, task.job.framework)
        return Ended(task.job, reason, seconds, task.resumes)

    def _look_round(self, reason: str) -> None:
        """Starts workers where there are none; starts a local cluster again when it died and its last run has ended.

        Args:
            reason: Why the cluster might be of no use any more.
        """
        here = os.getcwd(), os.path.abspath(self._marker.name)
        opened = self._nodes.open_slots(*here)
        if not (self._nodes.slots or any(task for _, task in self._busy.values())):
            self._nodes.restart(reason)
            self._busy, opened = {}, self._nodes.open_slots(*here)
        self._busy |= {answer: (slot, None) for answer, slot in opened.items()}
        self._idle = [slot for slot in self._idle if slot in self._nodes.slots.values()]

    def _interrupt(self) -> None:
        """Lets each training save its step, as a terminal's interrupt does on one machine, and keeps their folders."""
        from ray.exceptions import RayError

        going = {answer: slot for answer, (slot, task) in self._busy.items() if task}
        for slot in going.values():
            self._nodes.run(slot, interrupt)
        for answer in wait(going, SECONDS_TO_STOP).done:
            with suppress(RayError):
                self._end(answer)


def _unpack(content: bytes, log_dir: str, framework: str) -> None:
    """Moves run folders out of a tar archive into the log folder, each whole and under a number of its own."""
    if content:
        with tempfile.TemporaryDirectory(dir=log_dir, prefix=".study.") as aside:
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                archive.extractall(aside, filter="data")
            for folder in sorted(Path(aside).iterdir()):
                folder.replace(new_run_folder(log_dir, framework))
