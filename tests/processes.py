"""Trainings in several processes: by Lightning's launcher, and on two nodes of the loopback interface."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import PROJECT
from tests.lives import left_by, same

NET = """
- Conv2D: {filters: 4, kernel_size: 3, activation: relu}
- BatchNormalization
- MaxPooling2D: 2
- Dropout: 0.3
- Conv2D: {filters: 8, kernel_size: 3, activation: relu}
- MaxPooling2D: 2
- Flatten
- Dropout: 0.2
- Dense: {units: 16, activation: relu}
- BatchNormalization
- Dense: 10
"""
QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu")
LAUNCHES = {
    "one process": ("--trainer.devices=1", "--trainer.num_nodes=1", "--trainer.strategy=auto"),
    "ddp of 2": ("--trainer.devices=2", "--trainer.num_nodes=1", "--trainer.strategy=ddp"),
    "ddp of 3": ("--trainer.devices=3", "--trainer.num_nodes=1", "--trainer.strategy=ddp"),
    "torchrun on 2 nodes": ("--trainer.devices=1", "--trainer.num_nodes=2", "--trainer.strategy=ddp"),
    "srun on 2 nodes": ("--trainer.devices=1", "--trainer.num_nodes=2", "--trainer.strategy=ddp"),
}


SRUN = {
    "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "77",
    "SLURM_JOB_NAME": "fit", "SLURM_NODELIST": "127.0.0.1",
}  # fmt: skip


def start(folder: Path, launch: str, *flags: object, script: tuple[str, ...] = ("-m", "cnn_mnist")):
    """Starts ``fit`` with one of ``LAUNCHES`` in a folder; gives its processes, one a terminal."""
    command = [*script, "fit", *map(str, flags), *LAUNCHES[launch]]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    agents, variables = [[]], [{}]
    if launch.startswith("torchrun"):
        place = ("--nnodes=2", "--nproc_per_node=1", "--master_addr=127.0.0.1", f"--master_port={port}")
        agents = [["-m", "torch.distributed.run", *place, f"--node_rank={rank}"] for rank in range(2)]
        variables = [{}, {}]
    if launch.startswith("srun"):  # of which a test has the environment alone
        agents = [[], []]
        variables = [SRUN | {"SLURM_PROCID": rank, "SLURM_NODEID": rank, "MASTER_PORT": port} for rank in "01"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    kept = {"cwd": folder, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [
        subprocess.Popen([sys.executable, *agent, *command], env=environment | more, **kept)
        for agent, more in zip(agents, variables, strict=True)
    ]


def ended(processes):
    """Waits for all, and gives the exit code and stderr of each."""
    said = [process.communicate(timeout=300)[1] for process in processes]
    return [process.returncode for process in processes], said


def fit(folder: Path, launch: str, *flags: object):
    """Trains to the end; gives the run folder."""
    codes, said = ended(start(folder, launch, *flags))
    assert not any(codes), said
    return max((folder / "lightning_logs/pytorch").iterdir(), key=lambda run: int(run.name.removeprefix("version_")))


def of_folder(folder: Path) -> list[int]:
    """The processes that work in a folder."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            found += [int(place.name)] * (os.readlink(place / "cwd") == str(folder))
        except OSError:  # it has ended
            continue
    return found


def children(process: int) -> list[int]:
    """The processes that another one has started, in their order."""
    return sorted(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


def seconds_until_gone(folder: Path, most: float = 60.0) -> float:
    """Waits until nothing works in a folder any more."""
    began = time.monotonic()
    while left := of_folder(folder):
        assert time.monotonic() - began < most, left
        time.sleep(0.1)
    return time.monotonic() - began


def check_close(one: Path, other: Path) -> float:
    """Two run folders differ by rounding alone; gives the greatest difference of a weight."""
    (held, file, points, times, mistakes, _), (held2, file2, points2, times2, mistakes2, _) = map(left_by, (one, other))
    assert (file, times, mistakes) == (file2, times2, mistakes2)
    assert held["random"].keys() == held2["random"].keys()
    assert same(held["random"], held2["random"])
    assert points.keys() == points2.keys()
    for tag, values in points.items():
        assert [step for step, _ in values] == [step for step, _ in points2[tag]]
        for (_, value), (_, value2) in zip(values, points2[tag], strict=True):
            assert abs(value - value2) <= 2e-7 * abs(value), tag  # float32 in the log
    weights, weights2 = held["state_dict"], held2["state_dict"]
    assert weights.keys() == weights2.keys()
    return max((weights[name] - weights2[name]).abs().max().item() for name in weights)
