"""Reads the CSV files of Lightning's and of Keras's CSVLogger."""

import csv
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from cnn_mnist.runs.folder import KERAS, PYTORCH
from keras_parity.logs.event_files import Scalars
from keras_parity.logs.points import Collected, Point, TooManyError

_ENDINGS = (".csv", ".tsv", ".log")
_SEPARATOR = re.compile(r"[,;\t|]")
_COUNTERS = ("step", "epoch")
_LONGEST = 100_000
"""Characters of a row, past which a file is no log; Python reads a row as a whole."""


def is_csv_log(path: Path) -> bool:
    """Whether a file is one of theirs: it has a column of steps or of epochs."""
    return path.suffix in _ENDINGS and path.is_file() and not set(_COUNTERS).isdisjoint(_header(path))


def read_csv(path: Path) -> Scalars:
    """Reads such a file.

    The step of a point is Lightning's step, or Keras's epoch. Keras calls its training figures by bare names,
    ``loss``; here they are ``train_loss``. A logger that goes on in a file with other columns writes a new header,
    which is followed. Reading ends at a line with more cells than its header.
    """
    points, notes, header, keras = Collected(), list[str](), _header(path), False
    written = path.stat().st_mtime  # the lines hold no times
    lines = _lines(path)
    try:
        for number, cells in enumerate(lines, start=1):
            if number == 1 or _is_header(cells):
                header = cells
                keras |= "step" not in header and "loss" in header
                continue
            if not cells:
                continue
            if len(cells) > len(header):
                found = f"{len(cells)} cells in line {number} under a header of {len(header)}"
                notes.append(f"{path} has {found}, and is read to there")
                break
            if len(cells) < len(header) and _is_cut(path) and next(lines, None) is None:
                notes.append(f"{path} ends inside line {number}, which is left out")
                break
            row = dict(zip(header, cells, strict=False))
            step = _number(row.get("step" if "step" in row else "epoch", ""))
            if step is not None and not math.isfinite(step):
                notes.append(f"{path} has the step {step} in line {number}, and is read to there")
                break
            for name, cell in row.items():
                value = _number(cell)
                if step is not None and value is not None and name not in _COUNTERS:
                    bare = "step" not in row and "loss" in row and not name.startswith("val_")
                    points.add(f"train_{name}" if bare else name, Point(int(step), written, value))
    except TooManyError as error:
        notes.append(f"{path} {error}")
    except csv.Error as error:
        notes.append(f"{path} is read to where it is damaged ({error})")
    return Scalars(points, KERAS if keras else PYTORCH, "its columns", notes)


def _lines(path: Path) -> Iterator[list[str]]:
    with path.open(newline="", errors="replace", encoding="utf-8-sig") as file:
        separator = _SEPARATOR.search(file.readline(_LONGEST))
        file.seek(0)
        read = 0

        def lines() -> Iterator[str]:
            nonlocal read
            while line := file.readline(_LONGEST):
                read += len(line)
                if read >= _LONGEST:
                    raise csv.Error(f"a row has {_LONGEST:,} characters or more")
                yield line

        for cells in csv.reader(lines(), delimiter=separator[0] if separator else ","):
            read = 0
            yield cells


def _header(path: Path) -> list[str]:
    try:
        return next(_lines(path), [])
    except (OSError, csv.Error):
        return []


def _is_cut(path: Path) -> bool:
    """Whether the last line has no end."""
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) not in b"\r\n"


def _is_header(cells: list[str]) -> bool:
    """Whether a line names columns: one of them counts, and none is a number."""
    return not set(_COUNTERS).isdisjoint(cells) and all(_number(cell) is None for cell in cells)


def _number(cell: str) -> float | None:
    """The number of a cell; None where it is empty, Keras's ``NA`` or text."""
    try:
        return float(cell)
    except ValueError:
        return None
