"""Reads the CSV files of Lightning's and of Keras's CSVLogger."""

import csv
import math
import os
import re
from array import array
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from cnn_mnist.errors import few
from cnn_mnist.runs.folder import KERAS, PYTORCH
from cnn_mnist.runs.tags import METRICS
from keras_parity.logs.event_files import Scalars
from keras_parity.logs.points import Collected, Point, TooManyError

_ENDINGS = (".csv", ".tsv", ".log")
_SEPARATOR = re.compile(r"[,;\t|]")
_COUNTERS = ("step", "epoch")
_EMPTY = ("", "NA")
"""Cells without a value; the second as Keras writes them."""

_METRIC = re.compile(rf"(?i)(?<![a-z])(?:{'|'.join(METRICS)})")
_SHOWN = 40
"""Characters of a cell in a note."""

_LONGEST = 100_000
"""Characters of a row from which a file is not a log; Python reads a whole row at once."""


def is_csv_log(path: Path) -> bool:
    """Whether a file looks like such a log: it has a column of steps, epochs or a metric of this project."""
    try:
        return is_csv(path) and any(name in _COUNTERS or _METRIC.search(name) for name in _header(path))
    except OSError:
        return True  # read_csv says so


def is_csv(path: Path) -> bool:
    """Whether a path is a file with one of the endings."""
    return path.suffix in _ENDINGS and path.is_file()


class _Cells:
    """What a file's columns hold."""

    def __init__(self) -> None:
        self._lines: dict[str, array[int]] = {}  # in which a column has a number
        self._texts: dict[str, str] = {}  # the first cell that is no number

    def add(self, name: str, cell: str, line: int) -> float | None:
        """Records a cell and returns its number; None if it is not a number."""
        number = _number(cell)
        if number is None:
            self._texts.setdefault(name, f"{name} ({cell[:_SHOWN] or 'nothing'} in line {line})")
        else:
            self._lines.setdefault(name, array("L")).append(line)
        return number

    def notes(self) -> Iterator[str]:
        """Yields notes on the cells and lines that are left out, and on the metrics that end early."""
        kinds: dict[str, list[str]] = {}
        for name, text in self._texts.items():
            kind = "cells left out" if name in self._lines else "read but not shown"
            kinds.setdefault("lines left out" if name in _COUNTERS else kind, []).append(text)
        for kind, texts in kinds.items():
            yield f"{kind}, as no plain numbers such as 0.5: {few(texts)}"
        rhythms: dict[bytes, list[str]] = {}
        for name, lines in self._lines.items():
            if name != "step":  # Lightning gives each metric lines of its own, not each step a value
                rhythms.setdefault(lines.tobytes(), []).append(name)
        # Sorting puts a metric that continues in the same lines after a metric that ends.
        for (ends, names), (goes_on, others) in pairwise(sorted(rhythms.items())):
            if goes_on.startswith(ends):
                last = self._lines[names[0]][-1]
                shown = f"the figure shown is of line {last} (was it NaN later?)"
                yield f"{few(names)} has no number after line {last}, where {others[-1]} goes on; {shown}"


def read_csv(path: Path) -> Scalars:
    """Reads such a file.

    The step of a point is Lightning's step, or Keras's epoch. Keras's training figures have bare names, such as
    ``loss``, which become ``train_loss``. If a logger continues a file with other columns, it writes a new header,
    which applies from there on. Reading ends at a line with more cells than its header.
    """
    points, notes, nameless, keras, seen = Collected(), list[str](), set[int](), False, _Cells()
    try:
        header = _header(path)
    except OSError as error:
        return Scalars(points, PYTORCH, "", [f"{path} cannot be read ({error.strerror})"])
    if set(_COUNTERS).isdisjoint(header):
        columns = few([name[:_SHOWN] for name in header]) or "nothing"
        return Scalars(points, PYTORCH, "", [f"{path} has no column {' or '.join(_COUNTERS)}, but {columns}"])
    written = path.stat().st_mtime  # the lines hold no times
    lines = _lines(path)
    try:
        for number, cells in enumerate(lines, start=1):
            if number == 1 or _is_header(cells):
                header = cells
                keras |= "step" not in header and "loss" in header
                twice = [name for name, count in Counter(filter(None, header)).items() if count > 1]
                if twice:
                    notes.append(f"{path}: {few(twice)} appears twice in line {number}; the last such column is read")
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
            counter = "step" if "step" in row else "epoch"
            step = seen.add(counter, row.get(counter, ""), number) if any(cells) else None
            if step is None:
                continue
            if not math.isfinite(step):
                notes.append(f"{path} has the step {step} in line {number}, and is read to there")
                break
            for name, cell in row.items():
                if name in _COUNTERS or cell.strip() in _EMPTY:
                    continue
                if not name:
                    nameless.add(header.index(name) + 1)
                    continue
                value = seen.add(name, cell, number)
                if value is not None:
                    bare = "step" not in row and "loss" in row and not name.startswith("val_")
                    points.add(f"train_{name}" if bare else name, Point(int(step), written, value))
    except TooManyError as error:
        notes.append(f"{path} {error}")
    except csv.Error as error:
        notes.append(f"{path} is read to where it is damaged ({error})")
    notes += [f"{path}: column {n} has no name (the index of pandas?) and is left out" for n in sorted(nameless)]
    notes += [f"{path}: {note}" for note in seen.notes()]
    return Scalars(points, KERAS if keras else PYTORCH, "its columns", notes)


def _lines(path: Path) -> Iterator[list[str]]:
    with path.open("rb") as binary:
        wide = binary.read(2) in (BOM_UTF16_LE, BOM_UTF16_BE)  # as Excel and PowerShell write
    with path.open(newline="", errors="replace", encoding="utf-16" if wide else "utf-8-sig") as file:
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
    except csv.Error:
        return []


def _is_cut(path: Path) -> bool:
    """Whether the last line has no end."""
    with path.open("rb") as file:
        file.seek(-2, os.SEEK_END)  # two bytes a character in UTF-16
        return not file.read().strip(b"\0").endswith((b"\r", b"\n"))


def _is_header(cells: list[str]) -> bool:
    """Whether a line names columns: one of them counts, and none is a number."""
    return not set(_COUNTERS).isdisjoint(cells) and all(_number(cell) is None for cell in cells)


def _number(cell: str) -> float | None:
    """The number of a cell; None where it is empty, Keras's ``NA`` or text."""
    try:
        return float(cell)
    except ValueError:
        return None
