"""``python -m benchmarks.scaling``: how many processes still make a training faster.

Measures a training step of ``three_conv``, and of the same network with 32 times as many filters, on shares of a batch
of 64 images, and the all-reduce of its gradients between two processes on this machine. From both, prints the time of a
step shared by n processes: the step of a share, and a ring's 2 (n - 1) transfers of an n-th of the gradients.
"""

import statistics
import time

import torch
from torch import distributed, multiprocessing

from cnn_mnist.architecture.descriptions import read_network
from cnn_mnist.console.tables import markdown_table
from cnn_mnist.pytorch.network import build_network

BATCH = 64
SHARES = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of processes that share a batch."""

WIDER = 32
"""Times as many filters and units: 1,000 times the parameters."""

ROUNDS, LARGE_ROUNDS = 20, 1
SECONDS_PER_TRANSFER, BYTES_PER_SECOND = 50e-6, 1.25e9
"""A network between machines: 50 µs and 10 Gbit/s."""


def wide(times: int) -> list[object]:
    """Describes ``three_conv`` with its filters and units multiplied by ``times``."""
    layers: list[object] = []
    for filters in (32, 64, 64):
        layers += [{"Conv2D": {"filters": filters * times, "kernel_size": 3, "activation": "relu"}}, "MaxPooling2D"]
    return [*layers[:-1], "Flatten", {"Dense": {"units": 64 * times, "activation": "relu"}}, {"Dense": 10}]


def step_seconds(model: torch.nn.Module, images: int, rounds: int) -> float:
    """Measures the median seconds of a training step; the first one warms up."""
    optimizer = torch.optim.RMSprop(model.parameters(), 1e-3)
    batch, labels = torch.rand(images, 1, 28, 28), torch.arange(images) % 10
    taken = []
    for _ in range(1 + rounds):
        start = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(batch), labels).backward()
        optimizer.step()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def _reduce(rank: int, count: int, port: int, answers: "multiprocessing.Queue[float]") -> None:
    """Measures an all-reduce of ``count`` floats between two processes."""
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    tensor, taken = torch.zeros(count), []
    for _ in range(6):
        distributed.barrier()
        start = time.perf_counter()
        distributed.all_reduce(tensor)
        taken.append(time.perf_counter() - start)
    if rank == 0:
        answers.put(statistics.median(taken[1:]))
    distributed.destroy_process_group()


def all_reduce_seconds(count: int, port: int) -> float:
    """Measures the median seconds of an all-reduce of ``count`` floats between two processes on this machine."""
    answers = multiprocessing.get_context("spawn").SimpleQueue()
    multiprocessing.spawn(_reduce, (count, port, answers), nprocs=2)
    return float(answers.get())


def ring_seconds(processes: int, size: int) -> float:
    """Predicts an all-reduce of ``size`` bytes on a network between machines."""
    transfers = 2 * (processes - 1)
    return transfers * (SECONDS_PER_TRANSFER + size / processes / BYTES_PER_SECOND)


def main() -> None:
    """Prints a table for each of the two networks."""
    for port, (times, rounds) in enumerate(((1, ROUNDS), (WIDER, LARGE_ROUNDS)), start=29531):
        network = read_network(wide(times))
        model = build_network(network, align="native")
        parameters = sum(parameter.numel() for parameter in model.parameters())
        reduced = all_reduce_seconds(parameters, port)
        rows = [["processes", "step of a share (ms)", "all-reduce, 10 Gbit/s (ms)", "together (ms)"]]
        for processes in SHARES:
            own, sent = step_seconds(model, BATCH // processes, rounds), ring_seconds(processes, 4 * parameters)
            rows.append([str(processes), *(f"{1e3 * each:,.2f}" for each in (own, sent, own + sent))])
        print(f"{parameters:,} parameters; measured here, two processes all-reduce them in {1e3 * reduced:,.2f} ms\n")
        print(markdown_table(rows), flush=True)


if __name__ == "__main__":
    main()
