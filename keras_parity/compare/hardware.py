"""The hardware of runs: decides which times may be averaged and compared, and writes the notes on the others."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

from cnn_mnist.runs.folder import KERAS, KERAS_JAX, KERAS_TORCH, PYTORCH
from keras_parity.compare.sides import TITLES
from keras_parity.compare.verdict import Word
from keras_parity.logs.run import Run

_MACHINE = ("device", "cpu", "cores")
"""Equal for runs on equal hardware; the number of threads may differ, because each framework chooses its own."""

_CUDA = {
    KERAS: "pip install 'tensorflow[and-cuda]'",
    KERAS_JAX: "pip install 'jax[cuda12]'",
    **dict.fromkeys((KERAS_TORCH, PYTORCH), "a CUDA build of torch (https://pytorch.org/get-started/locally)"),
}
"""How each framework gets its GPU build."""


def machine(run: Run) -> Hashable:
    """What must be equal before times are compared: device, CPU and cores; all None if the environment is unknown."""
    return tuple(run.environment.get(name) for name in _MACHINE)


def apart_in_time(first: Run, second: Run) -> Word | None:
    """Why the times of two runs are not comparable (other clock, other hardware); None if they are."""
    if bool(first.clock) != bool(second.clock):
        return Word.OTHER_CLOCK
    if not (first.environment and second.environment):
        return Word.UNKNOWN_HARDWARE
    return Word.OTHER_HARDWARE if machine(first) != machine(second) else None


def on_equal_hardware(runs: Sequence[Run], others: Sequence[Sequence[Run]] = ()) -> tuple[Run, ...]:
    """Selects the runs whose times may be averaged: one machine, one number of threads, one clock.

    Args:
        runs: At least one.
        others: The runs of the other columns; the machine that most columns share is preferred, then the machine with
            the most runs.

    Returns:
        The selected runs, in their order.
    """
    machines = [{(machine(run), bool(run.clock)) for run in other} for other in others]
    kinds = [((machine(run), bool(run.clock)), run.environment.get("threads")) for run in runs]
    counts = Counter(kinds)
    best = max(counts, key=lambda kind: (sum(kind[0] in other for other in machines), counts[kind]))
    return tuple(run for run, kind in zip(runs, kinds, strict=True) if kind == best)


def notes(columns: Mapping[str, Sequence[Run]]) -> list[str]:
    """Notes on the machines of the columns and on how figures are averaged; empty for a single machine.

    Args:
        columns: The runs of each column, by its title.
    """
    if len({machine(run) for runs in columns.values() for run in runs}) < 2:
        return []
    ran = [
        f"{title} on {name}" + (f" ({count} of {len(runs)} runs)" if count < len(runs) else "")
        for title, runs in columns.items()
        for name, count in Counter(map(_name, runs)).items()
    ]
    return [
        f"several machines: {', '.join(ran)}; accuracies and losses are compared across machines; times, speeds and "
        "set-up times only on equal hardware (--by=environment.device, or .cpu, compares the machines)"
    ]


def lacking_gpu(runs: Sequence[Run]) -> str:
    """What to install if some frameworks ran on a GPU, and others only on a CPU; else empty."""
    told = {(run.framework, str(run.environment.get("device", ""))) for run in runs}
    devices = {framework: {device for name, device in told if name == framework} for framework in TITLES}
    gpus = {framework: found - {"", "cpu"} for framework, found in devices.items()}
    lacking = [framework for framework, found in devices.items() if found == {"cpu"}]
    if not lacking or not any(gpus.values()):
        return ""
    names = ", ".join(sorted(set[str]().union(*gpus.values())))
    ran, others = (" and ".join(TITLES[name] for name in which) for which in (filter(gpus.get, gpus), lacking))
    remedies = "; ".join(f"{_CUDA[framework]} lets {TITLES[framework]} use the GPU" for framework in lacking)
    return f"{ran} ran on a GPU ({names}) and {others} on a CPU: times do not compare the frameworks; {remedies}"


def _name(run: Run) -> str:
    device, cpu, cores = (run.environment.get(name) for name in _MACHINE)
    cpus = f"{cpu}, {cores} cores"
    return {None: "unknown hardware", "cpu": cpus}.get(device, f"{device} with {cpus}")
