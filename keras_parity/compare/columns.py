"""A column of the results table, and the comparison of two columns."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cnn_mnist.runs import tags
from keras_parity.compare.disagreements import Pair
from keras_parity.compare.hardware import apart_in_time
from keras_parity.compare.intervals import ALPHA, Estimate, always_valid, difference, estimate, student
from keras_parity.compare.rows import PRIMARY, ROWS, resolution
from keras_parity.compare.verdict import FEWEST, Verdict, judge
from keras_parity.logs.run import Run

_LOOKED_AT = "a study with --until=decided compares after each pair: its intervals are wider, to be valid at every look"


@dataclass(frozen=True)
class Column:
    """Runs with the same framework (or value of ``--by``) and the same settings, all finished or all unfinished.

    Attributes:
        title: The title as printed.
        side: The framework, or the value of ``--by``, as printed.
        framework: The framework; with ``--by``, the framework of the first run.
        runs: The runs; of finished ones only the newest of each seed. Empty in a published column.
        cells: The figure of each row, by the row's key; a missing key means that the column has no such figure.
        timed: The runs on equal hardware; rows of times use only these.
    """

    title: str
    side: str
    framework: str
    runs: tuple[Run, ...]
    cells: dict[str, Estimate]
    timed: tuple[Run, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the column has finished runs; a published column has no runs."""
        return bool(self.runs) and self.runs[0].finished

    def figures(self, key: str) -> dict[Hashable, float]:
        """The figure of a row for each run that has it, by ``Run.partner``."""
        row, runs = ROWS[key], self.timed if ROWS[key].timed else self.runs
        return {run.partner: value for run in runs if (value := row.value(run)) is not None}


class Comparison(NamedTuple):
    """Two columns compared.

    Attributes:
        first: Baseline column.
        second: Compared column.
        verdicts: The verdict of each row, by the row's key; differences are second minus first.
        pairs: The mistakes of two runs with the same seed, for each pair in which both are known.
    """

    first: Column
    second: Column
    verdicts: dict[str, Verdict]
    pairs: list[Pair]


def make_column(title: str, side: str, runs: Sequence[Run], timed: tuple[Run, ...]) -> Column:
    """Makes a column.

    Args:
        title: The title as printed.
        side: The framework, or the value of ``--by``, as printed.
        runs: At least one run.
        timed: The subset of ``runs`` that rows of times use.

    Returns:
        The column, with the figure of every row that any of the runs has.
    """
    column = Column(title, side, runs[0].framework, tuple(runs), {}, timed)
    for key in ROWS:
        if figures := column.figures(key):
            column.cells[key] = estimate(list(figures.values()), resolution(key, runs[0].settings, figures.values()))
    return column


def compare_columns(
    first: Column, second: Column, margins: Mapping[str, float], comparisons: int = 1
) -> tuple[Comparison, list[str]]:
    """Compares two columns.

    Args:
        first: Baseline column, of finished runs with different seeds.
        second: Compared column, of finished runs with different seeds.
        margins: Margins by row, instead of the rows' own.
        comparisons: Number of columns that are compared with the first; their intervals are jointly valid.

    Returns:
        The comparison, and notes on how it was made.
    """
    no_word = apart_in_time(first.timed[0], second.timed[0])
    shared = first.cells.keys() & second.cells.keys()
    rows = sum(not (no_word and ROWS[key].timed) for key in shared - {PRIMARY, tags.PARAMETERS})
    alpha_primary = ALPHA / comparisons  # Bonferroni's share of each
    alpha_others = alpha_primary / max(rows, 1)
    looked_at = any(run.looked_at for run in (*first.runs, *second.runs))
    reach, verdicts = always_valid if looked_at else student, dict[str, Verdict]()
    for key, row in ROWS.items():
        if key not in shared:
            continue
        alpha = alpha_primary if key == PRIMARY else alpha_others
        margin, fewest = row.limit(margins.get(key)), FEWEST
        if no_word and row.timed:
            verdicts[key] = Verdict(Estimate(math.nan), margin, no_word, None, 1 - alpha, row.ratio)
            continue
        figures = [column.figures(key).items() for column in (first, second)]
        one, two = ({partner: row.judged(figure) for partner, figure in side} for side in figures)
        step = resolution(key, first.runs[0].settings, [*one.values(), *two.values()])
        estimated = difference(one, two, step, alpha, reach)
        if key == tags.PARAMETERS:  # not random: one run of each decides
            estimated, fewest = estimated._replace(half_width=0.0, spread=None), 1
        basis = f"{len(one)} and {len(two)} runs"
        if one.keys() == two.keys():
            basis = "1 pair" if len(one) == 1 else f"{len(one)} pairs"
        word, needed = judge(estimated, margin, alpha, reach, fewest)
        verdicts[key] = Verdict(estimated, margin, word, needed, 1 - alpha, row.ratio, basis)
    images = "data.dataset", "data.file", "data.sha256"
    sets = {tuple(map(column.runs[0].settings.get, images)) for column in (first, second)}
    partners = {run.partner: run.mistakes for run in second.runs if len(sets) == 1}  # else the images differ
    pairs = [
        (run.mistakes, others)
        for run in first.runs
        if (others := partners.get(run.partner)) is not None and run.mistakes is not None
    ]
    notes = [f"difference: {second.side} minus {first.side}, relative to {first.side} for losses, times and speeds"]
    if all(verdict.difference.n < FEWEST for verdict in verdicts.values()):
        too_few = f"fewer than {FEWEST} pairs of runs decide nothing (runs with the same seed count once)"
        notes.insert(0, f"{too_few}; python -m keras_parity study trains more")
    else:
        notes.append(
            f"intervals: {100 * (1 - alpha_primary):.4g}% for {ROWS[PRIMARY].title}; {100 * (1 - alpha_others):.4g}% "
            f"(Bonferroni) for {rows} other rows, {1 - ALPHA:.0%} jointly; paired by seed, or Welch's over all runs"
        )
        notes += [_LOOKED_AT] * looked_at
    return Comparison(first, second, verdicts, pairs), notes
