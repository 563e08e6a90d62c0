"""Trains the jobs of a study in a pool, and decides what is resumed and what is repeated."""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from cnn_mnist.runs.folder import checkpoints
from keras_parity.logs.run import Run
from keras_parity.study.jobs import Job, KnownRuns
from keras_parity.study.runner import Runner

LIVES = 3  # a job is given up after so many deaths without a new checkpoint, so that every study ends

_SECONDS_TO_DIE = 10.0  # for a training whose worker was killed


class Ended(NamedTuple):
    """A training that has ended, well or not.

    Attributes:
        job: What was trained.
        reason: The last line of its output.
        seconds: Wall-clock seconds that it took.
        resumed: Whether it resumed an interrupted run.
        lost: Whether its worker died during it; the reason then names the worker.
    """

    job: Job
    reason: str
    seconds: float
    resumed: bool
    lost: bool = False


class Pool(Protocol):
    """Where trainings run."""

    @property
    def has_room(self) -> bool:
        """Whether another training can start now."""

    def start(self, job: Job, cut: Run | None) -> None:
        """Starts a training, or resumes its interrupted run; returns at once."""

    def wait(self) -> Ended | None:
        """Waits until a training has ended; None if only room has changed."""

    def close(self) -> None:
        """Ends all trainings."""


class OneByOne:
    """The pool of this process: one training at a time."""

    def __init__(self) -> None:
        self._runner = Runner()
        self.close = self._runner.close
        self._next: tuple[Job, Run | None] | None = None

    @property
    def has_room(self) -> bool:
        """Whether no training waits."""
        return self._next is None

    def start(self, job: Job, cut: Run | None) -> None:
        """Keeps a training for ``wait``, which runs it."""
        self._next = job, cut

    def wait(self) -> Ended:
        """Runs the training to its end."""
        assert self._next
        (job, cut), self._next = self._next, None
        start = time.monotonic()
        reason = self._runner.run(job.framework, job.resume(cut) or job.command)
        return Ended(job, reason, time.monotonic() - start, bool(cut))


def train(
    jobs: Iterable[Job], runs: KnownRuns, pool: Pool, tell: Callable[[str], None]
) -> Iterator[tuple[Ended, Run | None]]:
    """Trains each job to its end: resumes an interrupted run, else starts one.

    A run that cannot be resumed is trained from the start. A run whose worker died is resumed by another worker, until
    several have died since its last checkpoint.

    Args:
        jobs: The jobs, in the order of their start.
        runs: The runs of the log folder.
        pool: Where they run. Its next training starts before the caller gets the one that ended.
        tell: Prints a line about a worker that died.

    Yields:
        Each job once, when it has ended, with the seconds of all its trainings; and its run if that is finished.
    """

    def look_up() -> tuple[Job, Run | None]:
        job = waiting.popleft()
        return job, None if job in fresh else runs.interrupted(job, _SECONDS_TO_DIE * (job in seconds))

    waiting, going, fresh = deque(jobs), 0, set[Job]()
    seconds, saved = defaultdict[Job, float](float), dict[Job, Path | None]()
    deaths = Counter[tuple[Job, Path | None]]()
    ended: Ended | None = None
    found = deque[tuple[Job, Run | None]]()  # the next job, looked up while the slots are busy
    while True:
        while (found or waiting) and pool.has_room:
            job, cut = found.popleft() if found else look_up()
            saved[job] = next(iter(checkpoints(cut.folder)), None) if cut else None
            pool.start(job, cut)
            going += 1
        if ended:
            job, run = ended.job, runs.finished(ended.job)
            if run or not (ended.resumed or ended.lost) or deaths[job, saved[job]] == LIVES:
                yield ended._replace(seconds=seconds[job]), run
            else:
                waiting.appendleft(job)
                (fresh.discard if ended.lost else fresh.add)(job)
                if ended.lost:
                    tell(f"{job}: {ended.reason}; another continues its run")
                ended = None
                continue
        if not (going or waiting or found):
            return
        if waiting and not found:
            found.append(look_up())
        if ended := pool.wait():
            going -= 1
            seconds[ended.job] += ended.seconds
            deaths[ended.job, saved[ended.job]] += ended.lost
