"""The results tables: today's figures beside the published, with intervals and a verdict for each experiment."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnn_mnist.runs import tags
from cnn_mnist.runs.folder import KERAS, PYTORCH
from cnn_mnist.settings import SOFTMAX_TWICE_FLOOR
from keras_parity.compare import published
from keras_parity.compare.disagreements import Pair, mcnemar_note
from keras_parity.compare.rows import ACC_MARGIN, RELATIVE_MARGIN, ROWS
from keras_parity.compare.verdict import Estimate, Verdict, difference, estimate, judge
from keras_parity.logs.run import Run, newest_by_seed

TITLES = {KERAS: "Keras", PYTORCH: "PyTorch"}

_VERDICTS = (
    "the difference is PyTorch's mean minus Keras's; same: its 95% interval lies within the margin; different: it does "
    f"not, and excludes zero; the margin, unless --margin sets another, is {ACC_MARGIN} for accuracies and "
    f"{RELATIVE_MARGIN:.0%} of Keras's mean for losses, times and speeds"
)
_TOO_FEW = (
    "the difference is PyTorch's mean minus Keras's; one run of a framework decides nothing (several of one seed are "
    "one); python -m keras_parity study makes more"
)


@dataclass(frozen=True)
class Column:
    """Runs of one kind: same framework, same settings, all finished or none.

    Attributes:
        title: As printed.
        framework: ``"keras"`` or ``"pytorch"``.
        runs: The runs; none in a published column.
        cells: Figure of each row, by its key; a row that a column has not is missing.
    """

    title: str
    framework: str
    runs: tuple[Run, ...]
    cells: dict[str, Estimate]


@dataclass(frozen=True, repr=False)
class Table:
    """One experiment, or all runs where each framework has finished but one; ``print`` shows it as text.

    Attributes:
        title: The settings that make it another experiment than the other tables; empty for a single table.
        columns: Today's, then published Keras and published PyTorch where they are of this architecture.
        verdicts: PyTorch minus Keras by row, where both have finished runs.
        pairs: The mistakes of finished Keras and PyTorch runs of one seed, where both are known.
        notes: What a reader must know, one line each.
    """

    title: str
    columns: list[Column]
    verdicts: dict[str, Verdict]
    pairs: list[Pair]
    notes: list[str]

    def __repr__(self) -> str:
        runs = [run for column in self.columns for run in column.runs]
        name = self.title or (runs[0].settings.get("model.architecture", "unknown settings") if runs else "published")
        counts = ", ".join(f"{len(column.runs)} {column.title}" for column in self.columns if column.runs)
        return f"Table({name}: {counts} runs)"

    def __str__(self) -> str:
        from keras_parity.compare.report import to_text  # which imports this file

        return to_text([self])


def make_tables(found: Sequence[Run], margins: Mapping[str, float] | None = None) -> list[Table]:
    """Groups the runs into columns, the columns into tables, and compares them.

    Args:
        found: The runs; those of one framework with the same settings share a column, an unfinished one never
            with a finished one.
        margins: Greatest differences that count as none, by row, in place of the rows' own.

    Returns:
        One table, or one for each experiment where a framework has finished several.
    """
    columns = _columns(found)
    finished = Counter(column.framework for column in columns if column.runs[0].finished)
    groups: dict[Any, list[Column]] = {}
    for column in columns:
        experiment = column.runs[0].experiment if max(finished.values(), default=0) > 1 else None
        groups.setdefault(experiment, []).append(column)
    titles = _titles(groups.values())
    tables = [_table(title, group, margins or {}) for title, group in zip(titles, groups.values(), strict=True)]
    for framework, title in TITLES.items():
        if not any(column.framework == framework for column in columns):
            package = "cnn_mnist fit" if framework == PYTORCH else "keras_parity"
            tables[-1].notes.append(f"no run of {title} among these: python -m {package} makes one")
    return tables


def differing_settings(columns: Sequence[Column]) -> list[list[str]]:
    """The only-differences table over columns whose settings are known, its header first; empty without differences."""
    known = [column for column in columns if column.runs and column.runs[0].settings]
    settings = [column.runs[0].settings for column in known]
    body = [[name, *(str(values.get(name, "-")) for values in settings)] for name in _differing(settings)]
    return [["setting", *(column.title for column in known)], *body] if body else []


def _columns(found: Sequence[Run]) -> list[Column]:
    """Today's columns; where a framework has several of a kind, each bears the number of its experiment."""
    groups: dict[Any, list[Run]] = {}
    for run in sorted(found, key=lambda run: (run.framework, not run.finished)):
        groups.setdefault((run.framework, run.finished, run.experiment), []).append(run)
    kinds = Counter(key[:2] for key in groups)
    numbers = {experiment: n for n, experiment in enumerate(dict.fromkeys(key[2] for key in groups), start=1)}
    columns = []
    for (framework, finished, experiment), members in groups.items():
        title = TITLES[framework] + ("" if finished else " (unfinished)")
        if max(kinds.values()) > 1:
            title += f" {numbers[experiment]}"
        values = {key: [v for run in members if (v := row.value(run)) is not None] for key, row in ROWS.items()}
        cells = {key: estimate(known) for key, known in values.items() if known}
        columns.append(Column(title, framework, tuple(members), cells))
    return columns


def _table(title: str, todays: list[Column], margins: Mapping[str, float]) -> Table:
    members = [run for column in todays for run in column.runs]
    columns, notes = todays, []
    if any(run.settings.get("model.architecture", published.ARCHITECTURE) == published.ARCHITECTURE for run in members):
        for framework, title_of in TITLES.items():
            cells = {tag: Estimate(value) for tag, value in published.RESULTS[framework].items()}
            columns = [*columns, Column(f"published {title_of}", framework, (), cells)]
        notes.append(published.footnote())
    for run in members:
        if not run.finished:
            notes.append(f"{run.folder} has not finished; it is shown, and averaged with no other")
        loss, acc = run.last("train/loss"), run.last("train/acc")
        if loss is not None and acc is not None and loss >= SOFTMAX_TWICE_FLOOR - 1e-4 and acc >= 0.9:
            notes.append(
                f"{run.folder}: a loss of {loss:.4f} at an accuracy of {acc:.4f} is that of a softmax before the loss, "
                f"which cannot fall under {SOFTMAX_TWICE_FLOOR:.6f}"
            )
    by_framework = {column.framework: column for column in todays if column.runs[0].finished}
    if len(by_framework) < 2:
        return Table(title, columns, {}, [], notes)
    keras, pytorch = (newest_by_seed(by_framework[framework].runs) for framework in (KERAS, PYTORCH))
    shared = [(keras[seed].mistakes, pytorch[seed].mistakes) for seed in keras if seed in pytorch]
    pairs = [(first, second) for first, second in shared if first is not None and second is not None]
    verdicts = _verdicts(keras, pytorch, margins)
    notes.append(_TOO_FEW if min(len(keras), len(pytorch)) < 2 else _VERDICTS)
    if pairs:
        notes.append((f"{title}: " if title else "") + mcnemar_note(pairs))
    return Table(title, columns, verdicts, pairs, notes)


def _verdicts(keras: Mapping[Any, Run], pytorch: Mapping[Any, Run], margins: Mapping[str, float]) -> dict[str, Verdict]:
    """The verdict of each row that both have; the runs are given by seed."""
    verdicts = {}
    for key, row in ROWS.items():
        first, second = (
            {seed: value for seed, run in side.items() if (value := row.value(run)) is not None}
            for side in (keras, pytorch)
        )
        if not (first and second):
            continue
        found = difference(first, second)
        if key == tags.PARAMETERS:  # no chance in it: one run of each decides
            found = found._replace(half_width=0.0)
        own = RELATIVE_MARGIN * abs(estimate(list(first.values())).mean) if row.margin is None else row.margin
        verdicts[key] = judge(found, margins.get(key, own))
    return verdicts


def _titles(groups: Collection[Sequence[Column]]) -> list[str]:
    """What makes each group another experiment than the others."""
    if len(groups) < 2:
        return [""] * len(groups)
    settings = [group[0].runs[0].settings for group in groups]
    names = _differing([values for values in settings if values])
    return [
        (", ".join(f"{name}={values.get(name, '-')}" for name in names) or "known settings")
        if values
        else "unknown settings"
        for values in settings
    ]


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of the settings that are not the same in all."""
    names = sorted({name for values in settings for name in values})
    return [name for name in names if any(values.get(name, "-") != settings[0].get(name, "-") for values in settings)]
