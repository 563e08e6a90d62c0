"""``python -m keras_parity compare``: reads the flags, prints and writes the tables."""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from tensorboard.plugins.text.summary_v2 import text_pb

from cnn_mnist.console.arguments import OneLineErrors, OutputFile
from cnn_mnist.data.splits import load_full_sets
from cnn_mnist.errors import UserError, expect, notify
from cnn_mnist.neutral import printable, say
from cnn_mnist.runs import mistakes, pictures
from cnn_mnist.runs.files import atomic_write, atomic_write_text
from cnn_mnist.runs.folder import LOG_DIR
from cnn_mnist.settings import DataSettings
from keras_parity.compare import curves, data_formats, demands, page, report
from keras_parity.compare.disagreements import draw
from keras_parity.compare.report import Table
from keras_parity.compare.select_runs import HOW, select_runs
from keras_parity.compare.table import make_tables
from keras_parity.logs.csv_files import is_csv_log
from keras_parity.logs.event_writer import picture
from keras_parity.logs.folders import COMPARE, root_of
from keras_parity.logs.run import Run

_ENDINGS = {"markdown": ".md", "csv": ".csv", "json": ".json", "html": ".html"}
_FILES = {
    "output": (_ENDINGS.values(), "Write the results to this file instead; its ending chooses the format."),
    "figure": ((".png", ".pdf", ".svg"), "Draw a slide into this file: the curves of each experiment, with bands."),
    "disagreements": ((".png",), "Draw the test images that the two sides predict differently into this file."),
}


def build_parser() -> OneLineErrors:
    """The flags of ``compare``."""
    purpose = "Compares runs of the frameworks in one table, with intervals and verdicts, from their logs."
    parser = OneLineErrors(prog="python -m keras_parity compare", description=purpose)
    runs = (
        "Folders (searched recursively), event files, CSV files or globs; default: the newest finished runs of two "
        "frameworks in --log_dir with the same settings and seed."
    )
    parser.add_argument("runs", nargs="*", default=[], help=runs)
    formats = "Format of the output; default: a table for the terminal (rich)."
    parser.add_argument("--format", default=None, choices=["rich", *_ENDINGS], help=formats)
    by = "Make a column for each value of a setting, of environment.NAME or of folder; default: the framework."
    parser.add_argument("--by", default="", help=by)
    lines = "With CSV: write a line for each run (runs), or the rows of the table (verdicts)."
    parser.add_argument("--rows", default=None, choices=["runs", "verdicts"], help=lines)
    parser.add_argument("--table", type=bool, default=True, help="Print the results.")
    for name, (endings, text) in _FILES.items():
        parser.add_argument(f"--{name}", type=OutputFile(*endings), default=None, help=text)
    for name, (text, *_) in demands.FLAGS.items():
        parser.add_argument(f"--{name}", action="append", default=[], help=text)
    parser.add_switch("--published", help="Show the published columns next to any experiment.")
    logs = "Folder of the logs; the tables for TensorBoard are saved in its folder compare."
    parser.add_argument("--log_dir", default=LOG_DIR, help=logs)
    parser.add_some(DataSettings, "data", "data_dir")
    return parser


def main(args: list[str]) -> None:
    """Prints the tables, and checks the requirements.

    Args:
        args: The arguments after ``compare``.

    Raises:
        UserError: The arguments are wrong, there are no runs, or a requirement is not met.
    """
    config = build_parser().parse_args(args)
    typed = {flag: [demands.read(flag, text) for text in config[flag]] for flag in demands.FLAGS}
    form = _format(config.output, config.format, config.rows)
    frameworks = {pattern: framework for pattern, _, framework in typed["framework"]}
    aliases = {tag: name for tag, _, name in typed["alias"]}
    found, notes = select_runs(config.runs, config.log_dir, aliases, config.by, frameworks)
    margins = {tag: float(margin) for tag, _, margin in typed["margin"]}
    tables = make_tables(found, margins, by=config.by, show_published=bool(config.published))
    tables[0].notes[:0] = notes
    drawn = None
    if config.disagreements is not None or form == "html":
        try:
            drawn = _disagreements(tables, config.data.data_dir)
        except UserError as error:
            if config.disagreements is not None:
                raise
            tables[-1].notes.append(f"the images predicted differently are not drawn: {error}")
    writers: dict[str, Callable[[Sequence[Table]], str]] = {
        "markdown": report.to_markdown,
        "csv": data_formats.verdicts_to_csv if config.rows == "verdicts" else data_formats.to_csv,
        "json": data_formats.to_json,
        "html": partial(page.to_html, disagreements=drawn),
    }
    text = writers[form](tables) if form != "rich" else ""
    if config.output is not None:
        atomic_write_text(config.output, text)
    elif config.table and form == "rich":
        report.print_tables(tables)
    elif config.table:
        print(printable(text), end="")
    if config.figure is not None:
        with atomic_write(config.figure) as aside:
            curves.draw(tables).savefig(aside, dpi=120)
    if config.disagreements is not None and drawn is not None:
        pictures.save(drawn, config.disagreements)
    folder = Path(config.log_dir, COMPARE)
    if folder.parent.is_dir():
        try:
            shown = [text_pb(COMPARE, report.to_markdown(tables))]
            shown += [] if drawn is None else [picture("visual/disagreements", drawn)]
            curves.write_bands(folder, tables, shown)
        except OSError as error:
            notify(f"{folder} was not written ({error.strerror})")
    piped = form != "rich" and config.output is None  # stdout is the content of a file
    for path in filter(None, (config[name] for name in _FILES)):
        say(f"wrote {path}", sys.stderr if piped else sys.stdout)
    if not piped and (logs := _event_logs(config.runs, config.log_dir, found)):
        say(f"next: tensorboard --logdir {shlex.quote(logs)}")

    failed = []
    for tag, comparison, bound in typed["require"]:
        failed += demands.unmet(tables, tag, comparison, float(bound))
    for tag, _, limit in typed["max_difference"]:
        failed += demands.too_far(tables, tag, float(limit))
    if failed:
        raise UserError("not met: " + "; ".join(failed))


def _event_logs(patterns: Sequence[str], log_dir: str, found: Sequence[Run]) -> str:
    """The folder that TensorBoard is to read; empty if the runs have no event files."""
    root = root_of(patterns or [log_dir])
    if root.is_relative_to(os.path.abspath(log_dir)):
        return log_dir  # which also has the tables
    if all(is_csv_log(run.folder) for run in found):
        return ""
    place = root if root.is_dir() else root.parent
    return os.path.relpath(place) if place.is_relative_to(Path.cwd()) else str(place)


def _format(output: str | None, typed: str | None, lines: str | None) -> str:
    """The output format: that of the file's ending, else the typed one.

    Raises:
        UserError: The flags contradict each other.
    """
    form = typed or "rich"
    if output is not None:
        form = next(form for form, ending in _ENDINGS.items() if output.endswith(ending))
        ends = f"{form}, as --output={output} ends"
        expect("--format", typed in (None, form), ends, f"{typed}; leave out one of them")
    remedy = f"{form}; add --format=csv or --output=FILE.csv"
    expect("--rows", lines is None or form == "csv", "the CSV format", remedy)
    return form


def _disagreements(tables: Sequence[Table], data_dir: str) -> pictures.Picture:
    """The pictures of all comparisons, stacked.

    Raises:
        UserError: There is no comparison, or the data set does not fit the misclassified images.
    """
    compared = [(table.about(part), part) for table in tables for part in table.comparisons if part.pairs]
    pairs = f"finished runs of two frameworks with the same seed and {mistakes.FILE}"
    expect("--disagreements", bool(compared), pairs, f"none; {HOW}")
    drawn = []
    for where, part in compared:
        kept = {name: part.first.runs[0].settings.get(f"data.{name}") for name in ("dataset", "file")}
        chosen = {name: value for name, value in kept.items() if value is not None}
        _, test = load_full_sets(replace(DataSettings(data_dir=data_dir), **chosen))
        known = [misclassified for pair in part.pairs for misclassified in pair]
        last = max(max(misclassified, default=0) for misclassified in known)
        if last >= len(test.labels):
            raise UserError(f"expected numbers of {len(test.labels):,} test images in {mistakes.FILE}, got {last}")
        last = max((number for misclassified in known for both in misclassified.values() for number in both), default=0)
        if last >= len(test.classes):
            raise UserError(f"expected numbers of {len(test.classes)} classes in {mistakes.FILE}, got {last}")
        drawn.append(draw(part.pairs, test, (part.first.side, part.second.side), where))
    return np.concatenate(drawn)
