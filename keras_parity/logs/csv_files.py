"""Reads the CSV files of Lightning's and of Keras's CSVLogger."""

import csv
import re
from contextlib import suppress
from pathlib import Path

from keras_parity.logs.event_files import Point, Points, Scalars

_ENDINGS = (".csv", ".tsv", ".log")
_SEPARATOR = re.compile(r"[,;\t|]")


def is_csv_log(path: Path) -> bool:
    """Whether a file is a log of a CSVLogger: it has a column of steps or of epochs."""
    return path.suffix in _ENDINGS and path.is_file() and not {"step", "epoch"}.isdisjoint(_header(path))


def read_csv(path: Path) -> Scalars:
    """Reads the log of a CSVLogger.

    The step of a point is Lightning's step, or Keras's epoch. Keras's training figures get the prefix ``train_``.

    Args:
        path: The file.

    Returns:
        The points; their wall time is that of the file, in seconds since 1970.
    """
    header, points, notes = _header(path), dict[str, Points](), list[str]()
    counter = "step" if "step" in header else "epoch"
    keras = counter == "epoch" and "loss" in header
    names = {name: f"train_{name}" if keras and not name.startswith("val_") else name for name in header}
    with path.open(newline="", errors="replace") as file:
        separator, written = _SEPARATOR.search(file.readline()), path.stat().st_mtime  # the lines have no times
        try:
            for cells in csv.reader(file, delimiter=separator[0] if separator else ","):
                row = dict(zip(header, cells, strict=False))
                for name in row.keys() - {"step", "epoch"}:
                    with suppress(ValueError, KeyError, OverflowError):  # empty, Keras's NA, or a truncated line
                        point = Point(int(float(row[counter])), written, float(row[name]))
                        points.setdefault(names[name], Points()).add(point)
        except csv.Error as error:
            notes.append(f"{path} is damaged and was read up to there ({error})")
    return Scalars(points, keras, notes)


def _header(path: Path) -> list[str]:
    try:
        with path.open(errors="replace") as file:
            return _SEPARATOR.split(file.readline(10_000).strip())
    except OSError:
        return []
