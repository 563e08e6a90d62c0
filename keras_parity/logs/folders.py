"""Finds the runs below the folders that a user names, and the event files that belong to each."""

import os
import re
from collections.abc import Container, Iterable
from fnmatch import fnmatch
from glob import glob, has_magic
from pathlib import Path

from cnn_mnist.errors import UserError
from cnn_mnist.runs.folder import CONFIG, FRAMEWORKS, HPARAMS, LOG_DIR
from keras_parity.logs.csv_files import is_csv, is_csv_log
from keras_parity.logs.event_files import OURS, PATTERN, files_in

COMPARE = "compare"
"""Name of the folder among the logs that comparisons write into."""

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "eval", "evaluation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}

SPLIT_FOLDERS = frozenset(_SPLITS)
"""Folders in which people and Keras's stock callback keep the parts of one run."""


def words_in(name: str) -> list[str]:
    """The words of a tag or folder in lower case: my, keras and model for ``"my_KerasModel"``."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]


def split_in(name: str) -> str:
    """The split that a tag or folder names, ``"val"`` for ``"loss_validation"``; empty where it names none or two."""
    found = {_SPLITS[word] for word in words_in(name) if word in _SPLITS}
    return found.pop() if len(found) == 1 else ""


def find_folders(patterns: Iterable[str]) -> list[Path]:
    """The runs that the user names.

    Args:
        patterns: Folders, which are searched downwards, or event and CSV files. A name that does not exist is a glob,
            in which ``**`` matches any number of folders. A glob skips the files that a comparison wrote.

    Raises:
        UserError: One of them names no run.
    """
    folders: dict[Path, Path] = {}
    for pattern in patterns:
        named = os.path.expanduser(pattern)
        exists = os.path.exists(named) or not has_magic(named)
        found = [Path(named)] if exists else [Path(path) for path in sorted(glob(named, recursive=True))]
        paths = [path for path in found if path.exists() and not _written_by_a_comparison(path)]
        logs = [log for path in paths for log in (search(path) if path.is_dir() else _log_of(path, exists))]
        logs = logs or [file for path in paths for file in (path, *sorted(path.rglob("*"))) if is_csv(file)]
        if not logs and not (found and not paths and Path(found[0]).exists()):
            raise UserError(f"expected a run folder with event files, got {pattern}; see {LOG_DIR}/*/version_*")
        folders |= {path.resolve(): path for path in logs if path.resolve() not in folders}
    return _without_parts(folders)


def root_of(patterns: Iterable[str]) -> Path:
    """The innermost path that contains everything the user names; for a glob, its existing beginning."""
    named = [Path(os.path.abspath(os.path.expanduser(pattern))) for pattern in patterns]
    there = [next(place for place in (path, *path.parents) if place.exists()) for path in named]
    return Path(os.path.commonpath(there))


def search(folder: str | Path) -> list[Path]:
    """The runs in a folder and below it: folders with event files, and CSV files.

    A folder with event files is one run, and event files in its sub-folders belong to it (``parts_of``). Hidden files
    and files of comparisons are skipped. Links are followed, each place once.
    """
    found, seen = list[Path](), set[Path]()
    for name, below, files in os.walk(folder, followlinks=True):
        place = Path(name)
        below[:] = sorted(sub for sub in below if sub[0] != ".")
        parts = _parts(place, below)
        if place.resolve() in seen:
            below.clear()
        elif parts or _has_events(place, place == Path(folder)):
            found.append(place)
            below[:] = [sub for sub in below if place / sub not in parts]
        else:
            found += (place / file for file in sorted(files) if file[0] != "." and is_csv_log(place / file))
        seen.add(place.resolve())
    return found


def parts_of(folder: Path) -> list[Path]:
    """The folders below a run, at any depth, whose event files belong to it."""
    if folder.is_file():
        return []
    below = sorted(sub.name for sub in folder.iterdir() if sub.is_dir() and sub.name[0] != ".")
    inside = [Path(name) for part in _parts(folder, below) for name, *_ in os.walk(part)]
    parts = [place for place in inside if files_in(place)]
    return sorted(parts, key=lambda place: (split_in(place.name) != "train", place))


def all_folders(log_dir: str | Path = LOG_DIR, known: Container[Path] = ()) -> list[Path]:
    """Every run folder of the contract under ``log_dir`` except the known ones, which it does not read."""
    places = (Path(log_dir, framework) for framework in FRAMEWORKS)
    found = ([path for path in place.glob("version_*") if path not in known] for place in places)
    return [path for paths in found for path in sorted(paths) if files_in(path)]


def _parts(place: Path, below: Iterable[str]) -> list[Path]:
    """The sub-folders that belong to the run in a folder.

    If the folder has event files, all sub-folders that hold no run; else the sub-folders named after a split.
    """
    subs = [place / name for name in below if name != COMPARE and not (place / name).is_symlink()]
    if _has_events(place):
        return [sub for sub in subs if not any(map(_is_a_run, map(Path, (name for name, *_ in os.walk(sub)))))]
    return [sub for sub in subs if sub.name.lower() in SPLIT_FOLDERS and files_in(sub) and not _is_a_run(sub)]


def _has_events(place: Path, also_comparisons: bool = False) -> bool:
    return any(also_comparisons or not file.name.endswith(OURS) for file in files_in(place))


def _is_a_run(place: Path) -> bool:
    """Whether a folder says that it is a run itself: by its settings, or as Lightning numbers its runs."""
    settings = any((place / name).is_file() for name in (CONFIG, HPARAMS))
    return settings or bool(re.fullmatch(r"version_\d+", place.name))


def _log_of(path: Path, exists: bool) -> list[Path]:
    """The file if the user named it, or if a glob found it and it is a log; else nothing."""
    return [path] if exists or fnmatch(path.name, PATTERN) or is_csv_log(path) else []


def _without_parts(folders: dict[Path, Path]) -> list[Path]:
    """The runs without those folders that are part of another run, as ``**`` finds both."""
    parts = {
        place.resolve()
        for path in folders.values()
        for part in parts_of(path)
        for place in (part, *part.parents)
        if path in place.parents
    }
    files = {file.resolve() for path in folders.values() if path.is_dir() for file in files_in(path)}
    return [path for place, path in folders.items() if place not in parts | files and place.parent not in parts]


def _written_by_a_comparison(path: Path) -> bool:
    return COMPARE in path.parts[-2:] and all(file.name.endswith(OURS) for file in files_in(path))
