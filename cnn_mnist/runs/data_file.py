"""The hash of a user's own data file: a run records it, because the file may change before its twin trains on it."""

import hashlib
from pathlib import Path

from cnn_mnist.runs.folder import ENVIRONMENT, read_config, read_settings

DATA_HASH = "data_sha256"
"""Its key in ``environment.yaml``; runs on a known data set, and older runs, have none."""


def data_hash(file: str | None) -> str | None:
    """Returns the first 16 hex digits of a file's SHA-256; None without a readable file."""
    try:
        with open(file or "", "rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()[:16]
    except OSError:
        return None


def change_since(folder: str | Path, file: str | None) -> str:
    """Says in one line that a run's own data file has changed; empty if it has not, or if it cannot be known.

    Args:
        folder: The run folder.
        file: The current data file; a file other than the run's does not count as a change.
    """
    then = (read_config(folder, ENVIRONMENT) or {}).get(DATA_HASH)
    its_file = ((read_settings(folder) or {}).get("data") or {}).get("file")
    if then is None or its_file != file or (now := data_hash(file)) in (None, then):
        return ""
    return f"{file} is not the file that {folder} was trained on: its SHA-256 was {then}, and is {now}"
