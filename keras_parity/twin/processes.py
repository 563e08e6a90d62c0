"""Several processes that train one twin, on one machine or more: the first one writes the run.

Keras has no launcher; it reads its place among the processes from three environment variables, which a cluster's
launcher sets for each process: ``KERAS_DISTRIBUTION_JOB_ADDRESSES`` (host:port of the first), ``..._NUM_PROCESSES`` and
``..._PROCESS_ID``.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from cnn_mnist.errors import expect
from keras_parity.settings import TrainerSettings

_ADDRESSES, _COUNT, _ID = (f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID"))


def process_count() -> int:
    """The number of processes that train together.

    Raises:
        UserError: A variable is missing or wrong, so that the processes would wait for each other, or all write.
    """
    count, place, address = (os.environ.get(name, "") for name in (_COUNT, _ID, _ADDRESSES))
    if count in ("", "1"):
        return 1
    expect(_COUNT, count.isdecimal() and int(count) > 1, "a number of processes", count)
    expect(_ID, place.isdecimal() and int(place) < int(count), f"a number from 0 to {int(count) - 1}", place or "none")
    expect(_ADDRESSES, bool(re.fullmatch(r"\S+:\d+", address)), "host:port of the first process", address or "none")
    return int(count)


def is_first() -> bool:
    """Whether this process writes the run and prints; errors as of ``process_count``."""
    return process_count() == 1 or int(os.environ[_ID]) == 0


@contextmanager
def written_once(trainer: TrainerSettings, folder: Path | None) -> Iterator[tuple[TrainerSettings, Path | None]]:
    """Lets every process but the first write to a temporary folder, and print nothing.

    Args:
        trainer: The settings of the run.
        folder: Run folder to resume; the others copy it before the training starts; the first waits for them.

    Yields:
        The settings and the folder for this process.
    """
    if is_first():
        yield trainer, folder
        return
    with TemporaryDirectory() as log_dir:
        copy = None if folder is None else shutil.copytree(folder, Path(log_dir, folder.name))
        yield replace(trainer, log_dir=log_dir, enable_progress_bar=False, enable_model_summary=False), copy
