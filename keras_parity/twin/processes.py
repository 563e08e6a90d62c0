"""Several processes that train one twin, on one machine or more: the first one writes the run.

Keras has no launcher; it reads its place among the processes from three environment variables, which a cluster's
launcher sets for each process: ``KERAS_DISTRIBUTION_JOB_ADDRESSES`` (host:port of the first), ``..._NUM_PROCESSES`` and
``..._PROCESS_ID``.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from keras_parity.settings import TrainerSettings


def process_count() -> int:
    """The number of processes that train together."""
    return int(os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", "1"))


def is_first() -> bool:
    """Whether this process writes the run and prints."""
    return process_count() == 1 or os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID", "0") == "0"


@contextmanager
def written_once(trainer: TrainerSettings, folder: Path | None) -> Iterator[tuple[TrainerSettings, Path | None]]:
    """Lets every process but the first write to a temporary folder, and print nothing.

    Args:
        trainer: The settings of the run.
        folder: Run folder to resume; the others copy it before the training starts, for which the first waits.

    Yields:
        The settings and the folder for this process.
    """
    if is_first():
        yield trainer, folder
        return
    with TemporaryDirectory() as log_dir:
        copy = None if folder is None else shutil.copytree(folder, Path(log_dir, folder.name))
        yield replace(trainer, log_dir=log_dir, enable_progress_bar=False, enable_model_summary=False), copy
