"""``python -m keras_parity compare``: flags in, the tables out."""

import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from tensorboard.plugins.text.summary_v2 import text_pb

from cnn_mnist.console.arguments import OneLineErrors, OutputFile
from cnn_mnist.data.splits import load_whole
from cnn_mnist.errors import UserError, UserNotice
from cnn_mnist.runs import mistakes, pictures
from cnn_mnist.runs.files import whole, write_whole
from cnn_mnist.runs.folder import LOG_DIR
from cnn_mnist.settings import DataSettings
from keras_parity.compare import curves, data_formats, demands, page, report
from keras_parity.compare.disagreements import draw
from keras_parity.compare.report import Table
from keras_parity.compare.select_runs import HOW, select_runs
from keras_parity.compare.table import make_tables
from keras_parity.logs.event_writer import picture
from keras_parity.logs.folders import COMPARE

_ENDINGS = {"markdown": ".md", "csv": ".csv", "json": ".json", "html": ".html"}
_WRITERS: dict[str, Callable[[Sequence[Table]], str]] = {
    "markdown": report.to_markdown,
    "csv": data_formats.to_csv,
    "runs": data_formats.to_csv,
    "verdicts": data_formats.verdicts_to_csv,
    "json": data_formats.to_json,
}
_FILES = {
    "output": (OutputFile(*_ENDINGS.values()), "File for the results, not the terminal; its ending is the format."),
    "figure": (OutputFile(".png", ".pdf", ".svg"), "File for a slide: the curves of each experiment, with bands."),
    "disagreements": (OutputFile(".png"), "File for a picture of the test images that both predict differently."),
}
_REPEATED = {
    "require": "A demand, such as 'test/acc >= 0.985'.",
    "max_difference": "Greatest difference, such as 'test/acc=0.003'.",
    "margin": "Greatest difference that counts as none, such as 'test/acc=0.002'.",
    "alias": "Another name of a tag, such as 'test/acc=my_accuracy'.",
    "framework": "Framework of runs by a pattern of their folders, such as 'runs/torch*:pytorch'.",
}


def build_parser() -> OneLineErrors:
    """The flags of ``compare``."""
    parser = OneLineErrors(
        prog="python -m keras_parity compare",
        description="Prints the published table again, with today's columns read from event files.",
    )
    runs = (
        "Folders, searched downwards, event or CSV files, or globs; without any, the newest finished run of each "
        "framework in --log_dir that share settings."
    )
    parser.add_argument("runs", nargs="*", default=[], help=runs)
    formats = "What is printed, by default a table for the terminal (rich)."
    parser.add_argument("--format", default=None, choices=["rich", *_ENDINGS], help=formats)
    by = "What makes the columns: a setting, environment.NAME or folder; by default the framework."
    parser.add_argument("--by", default="", help=by)
    lines = "With the CSV format: a line for each run, or the rows of the table (verdicts)."
    parser.add_argument("--rows", default=None, choices=["runs", "verdicts"], help=lines)
    parser.add_argument("--table", type=bool, default=True, help="Whether the results are printed.")
    for name, (kind, text) in _FILES.items():
        parser.add_argument(f"--{name}", type=kind, default=None, help=text)
    for name, text in _REPEATED.items():
        parser.add_argument(f"--{name}", action="append", default=[], help=text)
    parser.add_switch("--published", help="Shows the published columns beside runs of any experiment.")
    parser.add_argument("--log_dir", default=LOG_DIR, help="Where the logs are; its compare gets the tables.")
    parser.add_some(DataSettings, "data", "data_dir")
    return parser


def main(args: list[str]) -> None:
    """Prints the tables; exits with 1 where a demand is not met.

    Args:
        args: The arguments after ``compare``.

    Raises:
        UserError: A mistake that the user can mend.
    """
    config = build_parser().parse_args(args)
    typed = {flag: [demands.read(flag, text) for text in config[flag]] for flag in _REPEATED}
    form = _format(config.output, config.format, config.rows)
    frameworks = {pattern: framework for pattern, _, framework in typed["framework"]}
    found, notes = select_runs(
        config.runs, config.log_dir, {tag: name for tag, _, name in typed["alias"]}, config.by, frameworks
    )
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
            tables[-1].notes.append(f"what both predict differently is not drawn: {error}")
    writers = _WRITERS | {"html": partial(page.to_html, disagreements=drawn)}
    text = writers[config.rows or form](tables) if form != "rich" else ""
    if config.output is not None:
        write_whole(config.output, text)
    elif config.table and form == "rich":
        report.print_tables(tables)
    elif config.table:
        print(text, end="")
    if config.figure is not None:
        with whole(config.figure) as aside:
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
            warnings.warn(UserNotice(f"{folder} was not written ({error.strerror})"), stacklevel=2)
    piped = form != "rich" and config.output is None  # what is printed is a file's content
    for path in filter(None, (config[name] for name in _FILES)):
        print(f"wrote {path}", file=sys.stderr if piped else sys.stdout)
    if not piped and folder.parent.is_dir():
        print(f"next: tensorboard --logdir {shlex.quote(config.log_dir)}")

    failed = []
    for tag, comparison, bound in typed["require"]:
        failed += demands.unmet(tables, tag, comparison, float(bound))
    for tag, _, limit in typed["max_difference"]:
        failed += demands.too_far(tables, tag, float(limit))
    if failed:
        raise UserError("not met: " + "; ".join(failed))


def _format(output: str | None, typed: str | None, lines: str | None) -> str:
    """What is written: by the ending of the file, else as typed.

    Raises:
        UserError: The flags contradict each other.
    """
    form = typed or "rich"
    if output is not None:
        form = next(form for form, ending in _ENDINGS.items() if output.endswith(ending))
        if typed not in (None, form):
            raise UserError(f"--format: expected {form}, as --output={output} ends, got {typed}; leave one out")
    if lines is not None and form != "csv":
        raise UserError(f"--rows: expected the CSV format with it, got {form}; add --format=csv or --output=FILE.csv")
    return form


def _disagreements(tables: Sequence[Table], data_dir: str) -> pictures.Picture:
    """The picture of each comparison, one under another.

    Raises:
        UserError: There is none, or the images are not those that were misclassified.
    """
    compared = [(table.where, part) for table in tables for part in table.comparisons if part.pairs]
    if not compared:
        raise UserError(
            f"--disagreements: expected finished runs of both frameworks, of one seed and with {mistakes.FILE}, "
            f"found none; {HOW}"
        )
    drawn = []
    for where, part in compared:
        kept = {name: part.first.runs[0].settings.get(f"data.{name}") for name in ("dataset", "file")}
        _, test = load_whole(DataSettings(data_dir=data_dir, **{name: v for name, v in kept.items() if v is not None}))
        known = [misclassified for pair in part.pairs for misclassified in pair]
        last = max(max(misclassified, default=0) for misclassified in known)
        if last >= len(test.labels):
            raise UserError(f"expected numbers of {len(test.labels):,} test images in {mistakes.FILE}, got {last}")
        last = max((number for misclassified in known for both in misclassified.values() for number in both), default=0)
        if last >= len(test.classes):
            raise UserError(f"expected numbers of {len(test.classes)} classes in {mistakes.FILE}, got {last}")
        drawn.append(draw(part.pairs, test, (part.first.side, part.second.side), where))
    return np.concatenate(drawn)
