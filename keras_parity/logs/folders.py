"""Finds runs in the folders, files and globs that a user names."""

import os
from collections.abc import Iterable
from glob import glob
from pathlib import Path

from cnn_mnist.errors import UserError
from cnn_mnist.runs.folder import KERAS, LOG_DIR, PYTORCH
from keras_parity.logs.csv_files import is_csv_log
from keras_parity.logs.event_files import OURS, files_in

COMPARE = "compare"
"""Name of the folder that ``compare`` writes into, in the folder of the logs."""

PARTS = ("train", "validation", "test")
"""Folders in which TensorFlow's users, and Keras's stock callback, save the splits of one run."""


def find_folders(patterns: Iterable[str]) -> list[Path]:
    """Finds the runs that the user names.

    Args:
        patterns: Folders (searched recursively), event files, CSV files, or globs. Files that ``compare`` wrote are
            ignored.

    Returns:
        The run folders and files, each once.

    Raises:
        UserError: A pattern matches no run.
    """
    folders: dict[Path, Path] = {}
    for pattern in patterns:
        named = os.path.expanduser(pattern)
        found = [Path(path) for path in ([named] if os.path.exists(named) else sorted(glob(named)))]
        paths = [path for path in found if not _written_by_a_comparison(path)]
        logs = [log for path in paths for log in ([path] if path.is_file() else search(path))]
        if not logs and paths == found:
            raise UserError(f"expected a run folder with event files, got {pattern}; see {LOG_DIR}/*/version_*")
        folders |= {path.resolve(): path for path in logs if path.resolve() not in folders}
    return list(folders.values())


def search(folder: str | Path) -> list[Path]:
    """Finds the runs in a folder and below it: folders with event files, and CSV files.

    Ignores hidden files and files that ``compare`` wrote below it; follows links, but visits each folder once.

    Args:
        folder: The folder.

    Returns:
        The run folders and files, in alphabetical order.
    """
    found, seen = list[Path](), set[Path]()
    for name, below, files in os.walk(folder, followlinks=True):
        place = Path(name)
        parts = [part for part in below if part in PARTS and files_in(place / part)]
        below[:] = sorted(part for part in below if part[0] != "." and part not in parts)
        if place.resolve() in seen:
            below.clear()
        elif parts or any(place == Path(folder) or not file.name.endswith(OURS) for file in files_in(place)):
            found.append(place)
        else:
            found += (place / file for file in sorted(files) if file[0] != "." and is_csv_log(place / file))
        seen.add(place.resolve())
    return found


def all_folders(log_dir: str | Path = LOG_DIR) -> list[Path]:
    """Finds this project's run folders.

    Args:
        log_dir: Folder of the runs.

    Returns:
        Every folder LOG_DIR/keras/version_N and LOG_DIR/pytorch/version_N that has event files.
    """
    places = (Path(log_dir, framework) for framework in (KERAS, PYTORCH))
    return [path for place in places for path in sorted(place.glob("version_*")) if files_in(path)]


def _written_by_a_comparison(path: Path) -> bool:
    return COMPARE in path.parts[-2:] and all(file.name.endswith(OURS) for file in files_in(path))
