"""The nodes of a Ray cluster, and the worker of each of their slots."""

import os
import signal
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from cnn_mnist.errors import UserError, expect
from cnn_mnist.neutral import say
from cnn_mnist.runs.environment import usable_cores
from keras_parity.study.trainings import LIVES
from keras_parity.study.worker import Worker

_LOCAL = "local"
_SECONDS_TO_ANSWER = 10

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",  # log_to_driver leaves the pages that Ray prints when a node dies
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # Ray's next default, which it announces in a warning
}
"""Environment variables that Ray reads when it is imported."""


@dataclass(eq=False)
class Slot:
    """A slot of a node.

    Attributes:
        node: Ray's name of the node.
        number: Which of the node's slots it is, from 0.
        host: Address of the node.
        worker: Ray's handle of the ``Worker``.
        group: Its process group; 0 until the worker has answered.
        shares: Whether the node shares the log folder.
    """

    node: str
    number: int
    host: str
    worker: Any
    group: int = 0
    shares: bool = False


class Nodes:
    """A connection to a Ray cluster.

    Args:
        address: ``"local"`` for a cluster on this machine that ends with ``close``, or the address of a running one.
        cores: Cores of each slot; None for all of a node, or its share of them per GPU.
        accelerator: ``--trainer.accelerator``; with ``"cpu"`` no GPU is used, with ``"gpu"`` no node without one.

    Attributes:
        slots: The slots that have a worker.
        deaths: How often a slot died before it answered, and a local cluster; clear it when a training has ended.
    """

    def __init__(self, address: str, cores: int | None, accelerator: str) -> None:
        os.environ |= _SETTINGS | os.environ
        self._address, self._cores, self._accelerator = address, cores, accelerator
        self.deaths = Counter[object]()
        self.slots: dict[tuple[str, int], Slot] = {}

    def connect(self) -> None:
        """Connects to the cluster, or starts it, without Ray's own output and handlers.

        Raises:
            UserError: There is no such cluster, or no slot in it.
        """
        import ray
        from ray.exceptions import RayError

        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if "PYTHONPATH" in os.environ:
            options["runtime_env"] = {"env_vars": {"PYTHONPATH": os.environ["PYTHONPATH"]}}
        if self._address == _LOCAL:
            options |= {"num_cpus": usable_cores(), "include_dashboard": False}
        handler = signal.getsignal(signal.SIGTERM)
        host, _, port = self._address.rpartition(":")
        try:
            if host:  # for which Ray waits minutes
                socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()
            ray.init(address=self._address, **options)
        except (OSError, RuntimeError, ValueError, RayError) as error:
            wanted = f"{_LOCAL}, or the address of a running Ray cluster such as 127.0.0.1:6379"
            came = [*str(error).splitlines(), type(error).__name__][0]
            raise UserError(f"--cluster={self._address}: expected {wanted}, got {came}") from None
        finally:
            signal.signal(signal.SIGTERM, handler)
        self._home = ray.get_runtime_context().get_node_id()
        resources = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        slots = [slots for slots, *_ in map(self._share, resources)]
        runs, nodes = sum(slots), sum(map(bool, slots))
        most = max((int(each.get("CPU", 0)) for each in resources), default=0)
        fits = f"at most the cores of a node ({most}), and a GPU if --trainer.accelerator=gpu"
        expect("--cores_per_run", runs > 0, fits, self._cores)
        say(f"{runs} run{'s' * (runs > 1)} at a time on {nodes} node{'s' * (nodes > 1)}")

    def open_slots(self, folder: str, marker: str) -> "dict[Future[Any], Slot]":
        """Starts a worker for each slot that has none, also on nodes that have joined; forgets nodes that died.

        Args:
            folder: Where the study was started.
            marker: Absolute path of a file in the log folder.

        Returns:
            What the new workers will answer.
        """
        import ray

        nodes = [node for node in ray.nodes() if node["Alive"]]
        if self._home not in [node["NodeID"] for node in nodes]:
            nodes = []  # Ray ends every worker of a process whose node died, and starts no other
        alive = {node["NodeID"] for node in nodes}
        self.slots = {where: slot for where, slot in self.slots.items() if slot.node in alive}
        opened = {}
        for node in nodes:
            slots, cores, gpus = self._share(node["Resources"])
            for number in range(slots):
                where = node["NodeID"], number
                if where not in self.slots and self.deaths[where] < LIVES:
                    options = {"num_cpus": cores, "num_gpus": gpus, **_on(node["NodeID"])}
                    actor: Any = ray.remote(Worker).options(**options).remote()
                    self.slots[where] = Slot(*where, node["NodeManagerAddress"], actor)
                    opened[actor.enter.remote(number, cores, folder, marker).future()] = self.slots[where]
        return opened

    def lose(self, slot: Slot) -> None:
        """Forgets a slot whose worker died; gives it up after some that died before they answered."""
        where = slot.node, slot.number
        self.deaths[where] += not slot.group
        self.slots.pop(where, None)

    def restart(self, reason: str) -> None:
        """Starts a local cluster again.

        Args:
            reason: What happened to it.

        Raises:
            UserError: It is not local, or has died too often.
        """
        self.deaths[_LOCAL] += 1
        lives = self._address == _LOCAL and self.deaths[_LOCAL] < LIVES
        remedy = "see that each node runs Ray and has this project, and repeat the command"
        expect(f"--cluster={self._address}", lives, "a node that trains", f"{reason}; {remedy}")
        self.close()
        self.connect()

    def run(self, slot: Slot, function: Callable[[int], None]) -> None:
        """Calls a function with the process group of a slot, on its node; returns at once."""
        import ray

        ray.remote(function).options(num_cpus=0, **_on(slot.node)).remote(slot.group)

    def close(self) -> None:
        """Ends the workers with their trainings, and a local cluster."""
        import ray

        while self.slots:
            ray.kill(self.slots.popitem()[1].worker)
        ray.shutdown()

    def _share(self, resources: Mapping[str, float]) -> tuple[int, int, int]:
        """The number of slots on a node, and the cores and GPUs of each."""
        cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        if self._accelerator == "cpu":
            gpus = 0
        cores = self._cores or max(cpus // max(gpus, 1), 1)
        slots = 0 if self._accelerator == "gpu" and not gpus else cpus // cores
        return (min(slots, gpus), cores, 1) if gpus else (slots, cores, 0)


def _on(node: str) -> dict[str, Any]:
    """The option that keeps a worker or a function on a node."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}
