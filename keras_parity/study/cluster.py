"""The pool of a Ray cluster: a slot trains one run at a time, on cores or a GPU of its own."""

import io
import os
import signal
import socket
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnn_mnist.errors import UserError
from cnn_mnist.neutral import say
from cnn_mnist.runs.environment import usable_cores
from cnn_mnist.runs.folder import LOG_DIR, new_run_folder
from keras_parity.logs.run import Run
from keras_parity.settings import TrainerSettings
from keras_parity.study import worker
from keras_parity.study.jobs import Job
from keras_parity.study.runner import SECONDS_TO_STOP
from keras_parity.study.trainings import LIVES, Ended

LOCAL = "local"
_SECONDS_TO_LOOK = 10  # for nodes that have joined

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",  # log_to_driver leaves the pages that Ray prints when a node dies
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's next default, which it announces in a warning
}
"""Environment variables that Ray reads when it is imported."""


@dataclass(eq=False)
class _Slot:
    """A slot of a node; the last three are known once its worker has answered."""

    node: str
    number: int
    host: str
    actor: Any
    group: int = 0
    shares: bool = False


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
        os.environ |= _SETTINGS | os.environ
        self._address, self._cores, self._trainer = address, cores, trainer
        self._deaths = Counter[object]()  # of slots before they answered, and of local clusters
        self._waits = False
        self._marker = tempfile.NamedTemporaryFile(dir=trainer.log_dir, prefix=".study.")  # noqa: SIM115 - see close
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    @property
    def has_room(self) -> bool:
        """Whether a slot is free."""
        return bool(self._idle)

    def start(self, job: Job, cut: Run | None) -> None:
        """Starts a training on a free slot. A node that does not share the log folder cannot resume a run."""
        slot = self._idle.pop(0)
        there = job
        if not slot.shares:
            there, cut = replace(job, trainer=replace(job.trainer, log_dir=LOG_DIR)), None
        answer = slot.actor.train.remote(job.framework, job.resume(cut) or there.command)
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
            if not (self._waits or any(slot.group for slot in self._slots.values())):
                self._waits = True
                say("waiting for free cores on the cluster")
            self._open_slots()
            return None
        except KeyboardInterrupt:
            self._interrupt()
            raise

    def close(self) -> None:
        """Ends the workers with their trainings, and a local cluster."""
        import ray

        for slot in self._slots.values():
            ray.kill(slot.actor)
        ray.shutdown()
        self._marker.close()

    def _end(self, answered: "Future[Any]") -> Ended | None:
        from ray.exceptions import RayActorError, RayTaskError

        slot, task = self._busy.pop(answered)
        try:
            answer = answered.result()
        except RayActorError as error:
            self._lose(slot, str(error).strip().splitlines()[-1])
            if not task:
                return None
            took = time.monotonic() - task.start
            return Ended(task.job, f"its worker on {slot.host} died", took, task.resumes, lost=True)
        except RayTaskError as error:
            raise error.cause from None
        self._idle.append(slot)
        if task is None:
            slot.group, slot.shares = answer
            return None
        reason, seconds, folders = answer
        _unpack(folders, self._trainer.log_dir, task.job.framework)
        return Ended(task.job, reason, seconds, task.resumes)

    def _lose(self, slot: _Slot, reason: str) -> None:
        """Replaces a slot whose worker died."""
        import ray

        where = slot.node, slot.number
        self._deaths[where] += not slot.group
        del self._slots[where]
        self._open_slots()
        if not self._slots:
            self._deaths[self._address] += 1
            if self._address != LOCAL or self._deaths[self._address] == LIVES:
                raise UserError(
                    f"--cluster={self._address}: expected a node that trains, got a worker on {slot.host} that died "
                    f"({reason}); install this project there, or start its node again, and repeat the command"
                )
            ray.shutdown()  # a local cluster ends with its node process
            self._connect()

    def _connect(self) -> None:
        """Connects to the cluster, or starts it, without Ray's own output and handlers."""
        import ray
        from ray.exceptions import RayError

        self._slots: dict[tuple[str, int], _Slot] = {}
        self._idle: list[_Slot] = []
        self._busy: dict[Future[Any], tuple[_Slot, _Task | None]] = {}
        local = {"num_cpus": usable_cores(), "include_dashboard": False} if self._address == LOCAL else {}
        handler = signal.getsignal(signal.SIGTERM)
        host, _, port = self._address.rpartition(":")
        try:
            if host:  # for which Ray waits minutes
                socket.create_connection((host, int(port)), timeout=_SECONDS_TO_LOOK).close()
            environment = {"env_vars": {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}}
            quiet = {"log_to_driver": False, "logging_level": "ERROR"}
            ray.init(address=self._address, runtime_env=environment, **quiet, **local)
        except (OSError, RuntimeError, ValueError, RayError) as error:
            raise UserError(
                f"--cluster={self._address}: expected {LOCAL}, or the address of a running Ray cluster such as "
                f"127.0.0.1:6379, got {str(error).splitlines()[0]}"
            ) from None
        finally:
            signal.signal(signal.SIGTERM, handler)
        self._open_slots()
        if not self._slots:
            cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
            raise UserError(
                f"--cores_per_run: expected at most the cores of a node ({max(cores, default=0)}) and a GPU if "
                f"--trainer.accelerator=gpu, got {self._cores}"
            )
        nodes = len({slot.node for slot in self._slots.values()})
        runs = len(self._slots)
        say(f"{runs} run{'s' * (runs > 1)} at a time on {nodes} node{'s' * (nodes > 1)}")

    def _open_slots(self) -> None:
        """Starts a worker for each slot that has none."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        for node in ray.nodes():
            slots, cores, gpus = self._share(node["Resources"])
            for number in range(slots if node["Alive"] else 0):
                where = node["NodeID"], number
                if where in self._slots or self._deaths[where] == LIVES:
                    continue
                there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                options = {"num_cpus": cores, "num_gpus": gpus, "scheduling_strategy": there}
                actor = ray.remote(worker.Worker).options(**options).remote()
                folders = os.getcwd(), os.path.abspath(self._marker.name)
                slot = self._slots[where] = _Slot(*where, node["NodeManagerAddress"], actor)
                self._busy[actor.enter.remote(number, cores, *folders).future()] = slot, None

    def _share(self, resources: Mapping[str, float]) -> tuple[int, int, int]:
        """The number of slots on a node, and the cores and GPUs of each."""
        cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        if self._trainer.accelerator == "cpu":
            gpus = 0
        cores = self._cores or max(cpus // max(gpus, 1), 1)
        slots = 0 if self._trainer.accelerator == "gpu" and not gpus else cpus // cores
        return (min(slots, gpus), cores, 1) if gpus else (slots, cores, 0)

    def _interrupt(self) -> None:
        """Lets each training save its step, as a terminal's interrupt does on one machine, and keeps their folders."""
        import ray
        from ray.exceptions import RayError
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        going = {answer: slot for answer, (slot, task) in self._busy.items() if task}
        for slot in going.values():
            there = NodeAffinitySchedulingStrategy(slot.node, soft=False)
            ray.remote(worker.interrupt).options(num_cpus=0, scheduling_strategy=there).remote(slot.group)
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
