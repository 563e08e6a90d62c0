"""The points of a run: of its own folder and of those that belong to it, under this project's tags."""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from cnn_mnist.errors import few
from cnn_mnist.runs import tags
from cnn_mnist.runs.folder import FRAMEWORKS, KERAS, PYTORCH
from keras_parity.logs.csv_files import is_csv, read_csv
from keras_parity.logs.event_files import BY_WRITER, read_scalars
from keras_parity.logs.folders import SPLIT_FOLDERS, parts_of, split_in, words_in
from keras_parity.logs.points import Point

# Of stock Lightning loggers, of Keras's stock callbacks, and of TensorFlow's writers called train and test.
_FOREIGN = {
    "loss": ("{}_loss_epoch", "{}_loss", "{}/epoch_loss"),
    "acc": ("{}_acc_epoch", "{}_acc", "{}_accuracy", "{}/epoch_accuracy", "{}/epoch_acc", "{}/accuracy"),
}
_SPLITS: tuple[tags.SplitName, ...] = ("train", "val", "test")

ALIASES = {
    tags.tag(split, metric): tuple(name.format(split) for name in names)
    for split in _SPLITS
    for metric, names in _FOREIGN.items()
}
"""Names that other code uses for the tags of this project, the preferred first."""

_NUMBER = re.compile(r"\d+(\.\d+)?")
"""The folders that ``add_hparams`` makes, named by the time."""

_NAMES = dict.fromkeys(("torch", "py_torch"), PYTORCH) | dict.fromkeys(("tensorflow", "tensor_flow"), KERAS)
_NAMES |= {name: name for name in FRAMEWORKS}
"""What people call the frameworks: words of a name, in lower case, joined by ``_``."""

_NAMED = re.compile(rf"(?<=_)(?:{'|'.join(sorted(_NAMES, key=len, reverse=True))})(?=_)")


def read_points(folder: Path, name: str, root: Path) -> tuple[dict[str, Sequence[Point]], list[str], str, str]:
    """The points of a run and of the folders that belong to it, notes, and the framework.

    Args:
        folder: The run folder or log file.
        name: Of the run folder.
        root: A folder above the run, below which names tell the framework.

    Returns:
        Last, a note on how the framework was inferred and can be overruled; empty if the path names it.
    """
    points, notes, framework, basis = dict[str, Sequence[Point]](), list[str](), PYTORCH, ""
    back, own = list[str](), list[str]()
    for place in (folder, *parts_of(folder)):
        log = read_csv(place) if is_csv(place) else read_scalars(place)
        inside = place.relative_to(folder).as_posix() if place != folder else name
        split = split_in(inside) if place != folder or name.lower() in SPLIT_FOLDERS else ""
        for tag, values in log.points.items():
            bare = "/" not in tag or (place != folder and not split_in(tag))
            full = f"{split}/{tag}" if split and bare else tag
            if place != folder and not split and not _NUMBER.fullmatch(inside):  # as add_scalars names its folders
                full = f"{inside}/{tag}"
            if full in points and place != folder:
                continue  # the run's own, or what add_hparams repeats
            points[full] = values.ascending()
            back += [full] if len(points[full]) < len({point.step for point in values}) else []
        own += [inside] if log.points and place != folder and not split else []
        if log.points and basis != BY_WRITER:
            framework, basis = log.framework, log.basis
        notes += log.notes
    if back:
        notes.append(f"{folder}: steps of {few(back)} go back; later points replace those from that step on")
    others = [name for name in own if not _NUMBER.fullmatch(name)]
    if others:
        notes.append(f"{folder}: its sub-folders {few(others)} are read as parts of it; name them to read them as runs")
    if not (points or notes):
        notes.append(f"{folder} has no scalars")
    named = _named_frameworks(folder, root)
    framework = named[0] if named else framework
    taken = f"framework not named in the path; taken as {framework} from {basis}"
    if named:
        taken = f"the path names {' and '.join(named)}; taken as {framework}, the nearest" if len(named) > 1 else ""
    return points, notes, framework, taken and f"{taken}; --framework=PATTERN:FRAMEWORK overrules"


def _named_frameworks(folder: Path, root: Path) -> list[str]:
    """The frameworks in the names of a run, the nearest first; a name with several frameworks counts for none.

    The names are the run's own, the folders between it and ``root``, and its parent folders in this project's layout.
    """
    home = folder.parent if folder.is_file() else folder
    place = Path(os.path.abspath(folder if is_csv(folder) else home))  # event files are named after machines
    below = place.parts[len(root.parts) :] if place.is_relative_to(root) else ()
    told = [frameworks_in(name) for name in reversed(below or (place.name,))]
    told += [{name} & set(FRAMEWORKS) for name in (home.name, home.parent.name)]
    return list(dict.fromkeys(found.pop() for found in told if len(found) == 1))


def frameworks_in(name: str) -> set[str]:
    """The frameworks that a name has as words, such as Keras for ``my_keras_model``."""
    return {_NAMES[found] for found in _NAMED.findall(f"_{'_'.join(words_in(name))}_")}


def apply_aliases(
    points: dict[str, Sequence[Point]], aliases: Mapping[str, tuple[str, ...]], typed: Collection[str]
) -> None:
    """Adds this project's tags for points that have other names; takes the arguments of ``read_run``."""
    for tag, others in aliases.items():
        known = next((points[other] for other in others if other in points), None)
        if known is not None and (tag not in points or (tag in typed and others[0] in points)):
            points[tag] = known


def take_times(points: dict[str, Sequence[Point]]) -> str:
    """Adds the times that a log lacks, from the wall times of its longest tag; returns that tag."""
    clock = max(points, key=lambda tag: len(points[tag]), default="")
    if points.keys() & {tags.FIT_SECONDS, tags.EPOCH_SECONDS} or not clock:
        return ""
    first, last, count = points[clock][0], points[clock][-1], len(points[clock])
    seconds = last.wall_time - first.wall_time
    if count < 2 or seconds <= 0:
        return ""
    points[tags.FIT_SECONDS] = [last._replace(value=seconds * count / (count - 1))]  # the first interval is not seen
    if last.step - first.step >= count:  # else these may be epochs, not steps
        points[tags.EPOCH_SECONDS] = [point._replace(value=seconds) for point in (first, last)]
    return clock
