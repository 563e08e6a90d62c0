"""What runs ran on: whose times may be averaged and compared, and what must be said where they may not."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

from cnn_mnist.runs.folder import KERAS, PYTORCH
from keras_parity.compare.sides import TITLES
from keras_parity.compare.verdict import Word
from keras_parity.logs.run import Run

_MACHINE = ("device", "cpu", "cores")
"""What two frameworks on equal hardware share; their threads, which each chooses by itself, may differ."""

_CUDA = {
    KERAS: "pip install 'tensorflow[and-cuda]' brings Keras to the GPU",
    PYTORCH: "the build of torch with CUDA (https://pytorch.org/get-started/locally) brings PyTorch to the GPU",
}


def machine(run: Run) -> Hashable:
    """What must be equal where times of the two are compared; of runs whose environment is not known, nothing."""
    return tuple(run.environment.get(name) for name in _MACHINE)


def apart_in_time(first: Run, second: Run) -> Word | None:
    """Why times of the two are not compared: measured ones with those of points of a log, or another machine's."""
    if bool(first.clock) != bool(second.clock):
        return Word.OTHER_CLOCK
    if not (first.environment and second.environment):
        return Word.UNKNOWN_HARDWARE
    return Word.OTHER_HARDWARE if machine(first) != machine(second) else None


def on_equal_hardware(runs: Sequence[Run], others: Sequence[Sequence[Run]] = ()) -> tuple[Run, ...]:
    """Those of the runs whose times may be averaged: on one machine, with as many threads, by one clock.

    Args:
        runs: At least one.
        others: Those that they will be compared with, column by column: a machine that most of them share is taken,
            and of several the one with the most runs.
    """
    theirs = [{(machine(run), bool(run.clock)) for run in other} for other in others]
    kinds = [((machine(run), bool(run.clock)), run.environment.get("threads")) for run in runs]
    counts = Counter(kinds)
    best = max(counts, key=lambda kind: (sum(kind[0] in other for other in theirs), counts[kind]))
    return tuple(run for run, kind in zip(runs, kinds, strict=True) if kind == best)


def notes(columns: Mapping[str, Sequence[Run]]) -> list[str]:
    """A note where the columns, by title, ran on several machines, and how each figure is taken then."""
    if len({machine(run) for runs in columns.values() for run in runs}) < 2:
        return []
    ran = [
        f"{title} on {name}" + (f" ({count} of {len(runs)} runs)" if count < len(runs) else "")
        for title, runs in columns.items()
        for name, count in Counter(map(_name, runs)).items()
    ]
    return [
        f"not one machine: {', '.join(ran)}; accuracies and losses are averaged and compared all the same, times, "
        "speeds and set-up on equal hardware alone (--by=environment.device, or .cpu, compares the machines)"
    ]


def lacking_gpu(runs: Sequence[Run]) -> str:
    """What to install where one framework ran on a GPU and the other never did; else empty."""
    devices: dict[str, set[str]] = {}
    for run in runs:
        devices.setdefault(run.framework, set()).add(str(run.environment.get("device", "")))
    for framework, other in (KERAS, PYTORCH), (PYTORCH, KERAS):
        gpus = devices.get(other, set()) - {"", "cpu"}
        if gpus and devices.get(framework) == {"cpu"}:
            return (
                f"{TITLES[other]} ran on a GPU ({', '.join(sorted(gpus))}), {TITLES[framework]} on a CPU: their times "
                f"say nothing of the frameworks; {_CUDA[framework]}"
            )
    return ""


def _name(run: Run) -> str:
    device, cpu, cores = (run.environment.get(name) for name in _MACHINE)
    cpus = f"{cpu}, {cores} cores"
    return {None: "unknown hardware", "cpu": cpus}.get(device, f"{device} with {cpus}")
