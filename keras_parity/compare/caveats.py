"""Notes on runs that a reader of the table must know, above all on logs that other code wrote."""

import shlex
from collections.abc import Iterator, Sequence
from itertools import groupby

from cnn_mnist.errors import few
from cnn_mnist.runs import tags
from cnn_mnist.runs.folder import checkpoints, step_of
from cnn_mnist.settings import SOFTMAX_TWICE_FLOOR
from keras_parity.compare.rows import PRIMARY, ROWS
from keras_parity.logs.folders import split_in, words_in
from keras_parity.logs.run import Run

_COUNTERS = {"epoch", "hp_metric", tags.EPOCH_SECONDS}
"""Tags outside the table that nobody misses: Lightning's own, and those that the rows are computed from."""


def notes_on(runs: Sequence[Run]) -> list[str]:
    """The notes on runs, one line each; runs with the same note share a line."""
    folders: dict[str, list[str]] = {}
    for run in runs:
        for text in _caveats(run):
            folders.setdefault(text, []).append(str(run.folder))
    return [note for run in runs for note in run.notes] + [f"{few(where)}: {text}" for text, where in folders.items()]


def _caveats(run: Run) -> Iterator[str]:
    if run.assumed:
        yield run.assumed
    if not run.settings:
        yield "settings unknown; all such runs of a framework share a column"
    if run.clock:
        yield f"times are computed from the wall times of {run.clock}, and include everything between two points"
    if percent := [tag for tag in ROWS if tag.endswith("/acc") and (run.last(tag) or 0) > 1]:
        yield f"{few(percent)} over 1 (percent?); accuracies should be fractions in [0, 1]"
    loss, acc = run.last("train/loss"), run.last("train/acc")
    smoothed = run.settings.get("model.label_smoothing")  # changes the minimum of the loss
    if loss and acc and loss >= SOFTMAX_TWICE_FLOOR - 1e-4 and acc >= 0.9 and not smoothed:
        floor = f"which then cannot fall below {SOFTMAX_TWICE_FLOOR:.6f}"
        yield f"a loss of {loss:.4f} at an accuracy of {acc:.4f} points to a softmax before the loss, {floor}"
    final = run.points.get(PRIMARY) if tags.PARAMETERS in run.points else None
    kept = checkpoints(run.folder)
    if final and kept and all(step_of(path) != final[-1].step for path in kept):
        names = few(sorted(path.name for path in kept))
        yield f"the figures are of the final weights, of step {final[-1].step:,}; the saved checkpoints differ: {names}"
    shown = [run.points[tag] for tag in ROWS if tag in run.points]
    left = [tag for tag in run.points.keys() - _COUNTERS if not any(run.points[tag] is points for points in shown)]
    if left and tags.PARAMETERS not in run.points:
        left.sort(key=lambda tag: ("epoch" not in tag, tag))
        found = {row: [*alike] for row, alike in groupby(sorted(left, key=_row_of), _row_of)}
        by_epoch = {row: [tag for tag in alike if "epoch" in tag] or alike for row, alike in found.items()}
        rows = ROWS.keys() - run.points.keys()
        hints = {row: alike[0] for row, alike in by_epoch.items() if len(alike) == 1 and row in rows}
        flags = [shlex.quote(f"--alias={row}={tag}") for row, tag in sorted(hints.items())]
        hint = f"{' '.join(flags)} shows them" if flags else "--alias=test/acc=NAME shows NAME as test/acc"
        yield f"read but not shown: {few(left)}; {hint}"


def _row_of(tag: str) -> str:
    """The row of a tag that names its split and its metric, ``"test/acc"`` for ``"Accuracy/test"``; else empty."""
    metrics = {name for word in words_in(tag) for name in tags.METRICS if word.startswith(name)}
    split = split_in(tag)
    return f"{split}/{metrics.pop()}" if split and len(metrics) == 1 else ""
