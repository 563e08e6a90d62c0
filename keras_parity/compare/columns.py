"""A column of the results table, runs of one kind, and what two of them say about each other."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cnn_mnist.runs import tags
from keras_parity.compare.disagreements import Pair
from keras_parity.compare.hardware import apart_in_time
from keras_parity.compare.rows import PRIMARY, ROWS, TIMED, resolution
from keras_parity.compare.verdict import (
    ALPHA,
    FEWEST,
    Estimate,
    Verdict,
    always_valid,
    difference,
    estimate,
    judge,
    student,
)
from keras_parity.logs.run import Run

_LOOKED_AT = (
    "a study with --until=decided looks at every pair: its intervals are wider, so that they hold at every look"
)


@dataclass(frozen=True)
class Column:
    """Runs of one kind: same framework or other side, same settings, all finished or none.

    Attributes:
        title: As printed.
        side: What makes it a column, as printed: the framework, or a value of another setting.
        framework: ``"keras"`` or ``"pytorch"``; of a table by something else, that of its first run.
        runs: The runs, of finished ones the newest of each seed; none in a published column.
        cells: Figure of each row, by its key; a row that a column has not is missing.
        timed: Those of the runs, on equal hardware, that the rows of times are taken over.
    """

    title: str
    side: str
    framework: str
    runs: tuple[Run, ...]
    cells: dict[str, Estimate]
    timed: tuple[Run, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether its runs are; a published column has none."""
        return bool(self.runs) and self.runs[0].finished

    def figures(self, key: str) -> dict[Hashable, float]:
        """A row's figure of each run that has it, by what pairs the run."""
        row, runs = ROWS[key], self.timed if key in TIMED else self.runs
        return {run.partner: value for run in runs if (value := row.value(run)) is not None}


class Comparison(NamedTuple):
    """One column against another.

    Attributes:
        first: The other.
        second: The one.
        verdicts: Of the second against the first, by row.
        pairs: The mistakes of their runs of one seed, where both are known.
    """

    first: Column
    second: Column
    verdicts: dict[str, Verdict]
    pairs: list[Pair]


def make_column(title: str, side: str, runs: Sequence[Run], timed: tuple[Run, ...]) -> Column:
    """A column of some runs; see ``Column``."""
    column = Column(title, side, runs[0].framework, tuple(runs), {}, timed)
    for key in ROWS:
        if figures := column.figures(key):
            column.cells[key] = estimate(list(figures.values()), resolution(key, runs[0].settings, figures.values()))
    return column


def compare_columns(
    first: Column, second: Column, margins: Mapping[str, float], comparisons: int = 1
) -> tuple[Comparison, list[str]]:
    """The second column against the first, and how they were compared, in notes.

    Args:
        first: Finished runs, each of another seed.
        second: Likewise.
        margins: Greatest differences that count as none, by row, in place of the rows' own.
        comparisons: How many columns are compared with the first; their intervals hold together.
    """
    no_word = apart_in_time(first.timed[0], second.timed[0])
    shared = first.cells.keys() & second.cells.keys()
    others = len(shared - {PRIMARY, tags.PARAMETERS, *(TIMED if no_word else ())})
    alpha_primary = ALPHA / comparisons  # Bonferroni's part of each
    alpha_others = alpha_primary / max(others, 1)
    looked_at = any(run.looked_at for run in (*first.runs, *second.runs))
    reach, verdicts = always_valid if looked_at else student, dict[str, Verdict]()
    for key, row in ROWS.items():
        if key not in shared:
            continue
        alpha = alpha_primary if key == PRIMARY else alpha_others
        margin, fewest = row.limit(margins.get(key)), FEWEST
        if no_word and key in TIMED:
            verdicts[key] = Verdict(Estimate(math.nan), margin, no_word, None, 1 - alpha, row.ratio)
            continue
        one, two = (
            {partner: row.judged(figure) for partner, figure in column.figures(key).items()}
            for column in (first, second)
        )
        step = resolution(key, first.runs[0].settings, [*one.values(), *two.values()])
        apart = difference(one, two, step, alpha, reach)
        if key == tags.PARAMETERS:  # no chance in it: one run of each decides
            apart, fewest = apart._replace(half_width=0.0, spread=None), 1
        basis = f"{len(one)} and {len(two)} runs"
        if one.keys() == two.keys():
            basis = "1 pair" if len(one) == 1 else f"{len(one)} pairs"
        word, needed = judge(apart, margin, alpha, reach, fewest)
        verdicts[key] = Verdict(apart, margin, word, needed, 1 - alpha, row.ratio, basis)
    sets = {tuple(map(column.runs[0].settings.get, ("data.dataset", "data.file"))) for column in (first, second)}
    partners = {run.partner: run.mistakes for run in second.runs if len(sets) == 1}  # else they see other images
    pairs = [
        (run.mistakes, theirs)
        for run in first.runs
        if (theirs := partners.get(run.partner)) is not None and run.mistakes is not None
    ]
    few = all(verdict.difference.n < FEWEST for verdict in verdicts.values())
    difference_is = (
        f"difference: {second.side} minus {first.side}, relative to {first.side} for losses, times and speeds"
    )
    if few:
        too_few = f"fewer than {FEWEST} pairs of runs decide nothing (runs with the same seed count once); "
        return Comparison(first, second, verdicts, pairs), [
            f"{too_few}python -m keras_parity study trains more",
            difference_is,
        ]
    intervals = (
        f"intervals: {100 * (1 - alpha_primary):.4g}% for {ROWS[PRIMARY].title}; {100 * (1 - alpha_others):.4g}% "
        f"(Bonferroni) for {others} other rows, {1 - ALPHA:.0%} jointly; paired by seed, else Welch's over all runs"
    )
    notes = [difference_is, intervals, *[_LOOKED_AT] * looked_at]
    return Comparison(first, second, verdicts, pairs), notes
