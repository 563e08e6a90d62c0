"""Selects the runs to compare: the named runs, or the newest pair."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch

from cnn_mnist.errors import UserError, expect
from keras_parity.logs.folders import find_folders, root_of, search
from keras_parity.logs.run import Run, newest_pair, read_run
from keras_parity.logs.run_points import ALIASES

HOW = "train some with python -m cnn_mnist fit and python -m keras_parity"


def select_runs(
    patterns: Sequence[str], log_dir: str, typed: Mapping[str, str], by: str, frameworks: Mapping[str, str]
) -> tuple[list[Run], list[str]]:
    """The runs to compare, and a note on each run that is left out."""
    aliases = ALIASES | {tag: (name, *ALIASES.get(tag, ())) for tag, name in typed.items()}
    folders = find_folders(patterns) if patterns else search(log_dir)
    root = root_of(patterns or [log_dir])
    runs = [_of_framework(read_run(folder, aliases, typed, root), frameworks) for folder in folders]
    for pattern in frameworks:
        matches = any(fnmatch(str(folder), pattern) for folder in folders)
        expect("--framework", matches, "a pattern of these runs' folders", f"{pattern}, which none has")
    found = [run for run in runs if run.points]
    notes = [note for run in runs if not run.points for note in run.notes]
    if not found:
        remedy = "mend these, or name others" if notes else HOW
        raise UserError(f"expected runs with scalars, found none ({'; '.join(notes) or log_dir}); {remedy}")
    for name in typed.values():
        known = any(name in run.points for run in found)
        expect("--alias", known, "a tag of these runs", f"{name}, which none of them has")
    if patterns or by:
        return found, notes
    unfinished = [str(run.folder) for run in found if not run.finished]
    pair = newest_pair(found)
    if not pair:
        raise UserError(f"expected finished runs in {log_dir}, found only {', '.join(unfinished)}; {HOW}")
    taken = f"compared: {' and '.join(str(run.folder) for run in pair)}"
    if len(pair) > 1 and pair[0].settings == pair[1].settings:
        taken += ", the newest finished runs with the same settings"
    if others := len(found) - len(unfinished) - len(pair):
        taken += f"; {others} more left out: python -m keras_parity compare {shlex.quote(log_dir)} takes all"
    return pair, [taken, *notes, *(f"{folder} is unfinished and left out" for folder in unfinished)]


def _of_framework(run: Run, frameworks: Mapping[str, str]) -> Run:
    """The run with the framework of the first pattern that its folder matches."""
    framework = next((name for pattern, name in frameworks.items() if fnmatch(str(run.folder), pattern)), None)
    return run if framework is None else replace(run, framework=framework, assumed="")
