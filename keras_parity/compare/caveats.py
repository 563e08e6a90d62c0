"""What must be said of runs, above all of those whose logs somebody else wrote."""

import re
import shlex
from collections.abc import Iterator, Sequence

from cnn_mnist.runs import tags
from cnn_mnist.settings import SOFTMAX_TWICE_FLOOR
from keras_parity.compare.rows import ROWS
from keras_parity.logs.folders import split_in
from keras_parity.logs.run import Run
from keras_parity.logs.run_points import few

_COUNTERS = {"epoch", "hp_metric", tags.EPOCH_SECONDS}
"""Tags beside the rows that nobody misses: Lightning's own, and what the rows are worked out from."""


def of(runs: Sequence[Run]) -> list[str]:
    """The notes on some runs, one line each; what is to be said of several is said once."""
    said: dict[str, list[str]] = {}
    for run in runs:
        for text in _caveats(run):
            said.setdefault(text, []).append(str(run.folder))
    return [note for run in runs for note in run.notes] + [f"{few(where)}: {text}" for text, where in said.items()]


def _caveats(run: Run) -> Iterator[str]:
    if not run.settings:
        yield "no settings are known; such runs of one framework share a column"
    if run.clock:
        yield f"times come from the wall times of {run.clock}, all that ran between them included"
    if percent := [tag for tag in ROWS if tag.endswith("/acc") and (run.last(tag) or 0) > 1]:
        yield f"{few(percent)} over 1 (percent?); an accuracy is a fraction in [0, 1]"
    loss, acc = run.last("train/loss"), run.last("train/acc")
    smoothed = run.settings.get("model.label_smoothing")  # which has a floor of its own
    if loss and acc and loss >= SOFTMAX_TWICE_FLOOR - 1e-4 and acc >= 0.9 and not smoothed:
        yield (
            f"a loss of {loss:.4f} at an accuracy of {acc:.4f} is that of a softmax before the loss, which cannot fall "
            f"under {SOFTMAX_TWICE_FLOOR:.6f}"
        )
    shown = [run.points[tag] for tag in ROWS if tag in run.points]
    left = [tag for tag in run.points.keys() - _COUNTERS if not any(run.points[tag] is points for points in shown)]
    if left and tags.PARAMETERS not in run.points:
        left.sort(key=lambda tag: ("epoch" not in tag, tag))
        found: dict[str, list[str]] = {}
        for tag in left:
            found.setdefault(_row_of(tag), []).append(tag)
        by_epoch = {row: [tag for tag in alike if "epoch" in tag] or alike for row, alike in found.items()}
        rows = ROWS.keys() - run.points.keys()
        hints = {row: alike[0] for row, alike in by_epoch.items() if len(alike) == 1 and row in rows}
        flags = [shlex.quote(f"--alias={row}={tag}") for row, tag in sorted(hints.items())]
        hint = f"{' '.join(flags)} shows them" if flags else "--alias=test/acc=NAME shows NAME as test/acc"
        yield f"read and not shown: {few(left)}; {hint}"


def _row_of(tag: str) -> str:
    """The row of a tag that names its split and its metric, ``"test/acc"`` for ``"Accuracy/test"``; else empty."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", tag)]
    metrics = {name for word in words for name in tags.METRICS if word.startswith(name)}
    split = split_in(tag)
    return f"{split}/{metrics.pop()}" if split and len(metrics) == 1 else ""
