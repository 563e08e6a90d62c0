"""Makes the results tables: a table for each experiment, with intervals, verdicts and the published figures."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

from cnn_mnist.runs.folder import KERAS, PYTORCH
from keras_parity.compare import caveats, hardware, published
from keras_parity.compare.columns import compare_columns, make_column
from keras_parity.compare.disagreements import count_note
from keras_parity.compare.report import Table
from keras_parity.compare.rows import ACC_MARGIN, RATIO_MARGIN
from keras_parity.compare.sides import TITLES, differing, shared, short_names, sides
from keras_parity.compare.verdict import FEWEST, MEANINGS
from keras_parity.logs.run import Run, hashable, newest_by_seed

_Group = tuple[str, str, list[Run]]
"""Title, side and runs of a future column."""


def make_tables(
    found: Sequence[Run], margins: Mapping[str, float] | None = None, *, by: str = "", show_published: bool = False
) -> list[Table]:
    """Groups runs into columns and tables, and compares the columns.

    Args:
        found: The runs. Runs of one framework with the same settings share a column; finished and unfinished runs do
            not.
        margins: Margins by row, instead of the rows' own.
        by: Make the columns by a setting, ``"environment.NAME"`` or ``"folder"`` instead of the framework.
        show_published: Whether to show the published columns next to any experiment.

    Returns:
        A table for each experiment; a single table if no framework has finished more than one.

    Raises:
        UserError: The runs do not differ in ``by``.
    """
    groups, left_out = _groups(found, by)
    titles = _titles([shared(runs[0], by) for (*_, runs), *_ in groups])
    tables = []
    for title, group in zip(titles, groups, strict=True):
        known = all(published.is_published(run.settings) for *_, runs in group for run in runs)
        tables.append(_table(title, group, margins or {}, by, show_published or (known and not by)))
    tables[-1].notes.extend(_meanings(tables))
    if left_out:
        tables[-1].notes.append(f"left out, because a newer run with the same seed has finished: {', '.join(left_out)}")
    for framework, command in () if by else ((KERAS, "keras_parity"), (PYTORCH, "cnn_mnist fit")):
        if not any(run.framework == framework for run in found):
            tables[-1].notes.append(f"no {TITLES[framework]} run among these: python -m {command} trains one")
    return tables


def _meanings(tables: Sequence[Table]) -> list[str]:
    """The meaning of each verdict in the tables; empty if no difference has an interval to explain."""
    verdicts = [v for table in tables for part in table.comparisons for v in part.verdicts.values()]
    if all(verdict.difference.n < FEWEST for verdict in verdicts):
        return []
    words = {verdict.word for verdict in verdicts}
    margins = f"{ACC_MARGIN} for accuracies, a factor of {1 + RATIO_MARGIN} for losses, times and speeds"
    meanings = [f"{word}: {meaning}" for word, meaning in MEANINGS.items() if word in words]
    return [*meanings, f"margin: {margins}, unless --margin sets it"]


def _groups(found: Sequence[Run], by: str) -> tuple[list[list[_Group]], list[str]]:
    """The columns of each table, and the folders of the runs that a newer run with the same seed replaces.

    If a side has several experiments, the title of each column ends in the number of its experiment.
    """
    split = sides(found, by)
    order: list[Hashable] = list(TITLES) if not by else list(dict.fromkeys(value for value, _ in split.values()))
    kinds: dict[tuple[Hashable, bool, Hashable], list[Run]] = {}
    for run in sorted(found, key=lambda run: (order.index(split[run.folder][0]), not run.finished)):
        kinds.setdefault((split[run.folder][0], run.finished, hashable(shared(run, by))), []).append(run)
    numbered = max(Counter(key[:2] for key in kinds).values(), default=0) > 1
    several = max(Counter(key[0] for key in kinds if key[1]).values(), default=0) > 1
    numbers = {experiment: n for n, experiment in enumerate(dict.fromkeys(key[2] for key in kinds), start=1)}
    groups: dict[Hashable, list[_Group]] = {}
    left_out = []
    for (_, finished, experiment), members in kinds.items():
        side = split[members[0].folder][1]
        title = side + " (unfinished)" * (not finished) + f" {numbers[experiment]}" * numbered
        kept = newest_by_seed(members) if finished else members
        left_out += [str(run.folder) for run in members if run not in kept]
        groups.setdefault(experiment if several else None, []).append((title, side, kept))
    return list(groups.values()), left_out


def _table(title: str, group: Sequence[_Group], margins: Mapping[str, float], by: str, show_published: bool) -> Table:
    finished = [runs for *_, runs in group if runs[0].finished]
    columns = []
    for name, side, runs in group:
        others = [other for other in finished if other is not runs]
        columns.append(make_column(name, side, runs, hardware.on_equal_hardware(runs, others)))
    members = [run for column in columns for run in column.runs]
    notes = caveats.notes_on(members) + hardware.notes({column.title: column.runs for column in columns})
    whole = [column for column in columns if column.finished]
    if show_published:
        columns += published.columns()
        notes.append(published.footnote())
    unfinished = [run.folder for run in members if not run.finished]
    notes += [f"{folder} is unfinished; it is shown, but not averaged with finished runs" for folder in unfinished]
    table = Table(title, columns, [], notes)
    for other in whole[1:]:
        comparison, notes_of_it = compare_columns(whole[0], other, margins, len(whole) - 1)
        table.comparisons.append(comparison)
        alike = whole[0].runs[0].settings == other.runs[0].settings
        if comparison.pairs and (alike or by):
            notes_of_it.append(table.where + count_note(comparison.pairs, (whole[0].side, other.side)))
        notes += notes_of_it
    return table


def _titles(settings: Sequence[Mapping[str, object]]) -> list[str]:
    """The number of each experiment, and the settings in which it differs from the others."""
    names = differing([values for values in settings if values.keys() - {"framework"}])
    labels = dict(zip(names, short_names(names), strict=True))
    titles = []
    for n, values in enumerate(settings, start=1):
        known = ", ".join(f"{label}={values.get(name, '-')}" for name, label in labels.items()) or "known settings"
        titles.append(f"experiment {n}: {known if values.keys() - {'framework'} else 'unknown settings'}")
    return titles if len(titles) > 1 else [""]
