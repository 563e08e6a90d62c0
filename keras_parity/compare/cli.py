"""``python -m keras_parity compare``: flags in, the tables out."""

import shlex
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from cnn_mnist.console.arguments import OneLineErrors, OutputFile
from cnn_mnist.data import mnist
from cnn_mnist.errors import UserError, UserNotice
from cnn_mnist.runs import mistakes, pictures
from cnn_mnist.runs.folder import LOG_DIR
from cnn_mnist.settings import DataSettings
from keras_parity.compare import demands, report
from keras_parity.compare.disagreements import draw
from keras_parity.compare.table import Table, make_tables
from keras_parity.logs.event_writer import charts, picture, text_page, write_events
from keras_parity.logs.run import ALIASES, all_folders, find_folders, newest_pair, read_run

_HOW = "python -m cnn_mnist fit and python -m keras_parity make them"
_ENDINGS = {"markdown": ".md", "csv": ".csv", "json": ".json"}
_FILES = {
    "output": (OutputFile(*_ENDINGS.values()), "File for the table, not the terminal; its ending is the format."),
    "figure": (OutputFile(".png", ".pdf", ".svg"), "File for a picture of the training curves."),
    "disagreements": (OutputFile(".png"), "File for a picture of the test images that both predict differently."),
}
_REPEATED = {
    "require": "A demand, such as 'test/acc >= 0.985'.",
    "max_difference": "Greatest difference, such as 'test/acc=0.003'.",
    "margin": "Greatest difference that counts as none, such as 'test/acc=0.002'.",
    "alias": "Another name of a tag, such as 'test/acc=my_accuracy'.",
}


def build_parser() -> OneLineErrors:
    """The flags of ``compare``."""
    parser = OneLineErrors(
        prog="python -m keras_parity compare",
        description="Prints the published table again, with today's columns read from event files.",
    )
    runs = "Run folders or globs; without any, the newest finished run of each framework that share settings."
    parser.add_argument("runs", nargs="*", default=[], help=runs)
    parser.add_argument("--format", default="rich", choices=["rich", *report.FORMATS], help="What is printed.")
    for name, (kind, text) in _FILES.items():
        parser.add_argument(f"--{name}", type=kind, default=None, help=text)
    for name, text in _REPEATED.items():
        parser.add_argument(f"--{name}", action="append", default=[], help=text)
    parser.add_argument("--log_dir", default=LOG_DIR, help="Where TensorBoard finds the tables, in compare.")
    parser.add_argument("--data.data_dir", default=DataSettings().data_dir, help="Folder of the test images.")
    return parser


def main(args: list[str]) -> None:
    """Prints the tables; exits with 1 where a demand is not met.

    Args:
        args: The arguments after ``compare``.

    Raises:
        UserError: A mistake that the user can mend.
    """
    config = build_parser().parse_args(args)
    required = [demands.demand(text) for text in config.require]
    limits = [demands.limit(text, "--max_difference") for text in config.max_difference]
    margins = dict(demands.limit(text, "--margin") for text in config.margin)
    aliases = [demands.alias(text) for text in config.alias]
    tables, page = _tables(config.runs, aliases, margins), [charts("Keras and PyTorch", report.CHARTS)]
    try:
        if config.output is not None:
            form = next(form for form, ending in _ENDINGS.items() if config.output.endswith(ending))
            Path(config.output).write_text(report.FORMATS[form](tables))
        elif config.format == "rich":
            report.print_tables(tables)
        else:
            print(report.FORMATS[config.format](tables), end="")
        if config.figure is not None:
            report.draw(tables, config.figure)
        if config.disagreements is not None:
            drawn = _disagreements(tables, config.data.data_dir)
            pictures.save(drawn, config.disagreements)
            page.append(picture("visual/disagreements", drawn))
    except OSError as error:
        raise UserError(f"expected a file that can be written, got {error.filename} ({error.strerror})") from None
    folder = Path(config.log_dir, report.COMPARE_TAG)
    if folder.parent.is_dir():
        try:
            write_events(folder, [text_page(report.COMPARE_TAG, report.to_markdown(tables)), *page])
        except OSError as error:
            warnings.warn(UserNotice(f"{folder} was not written ({error.strerror})"), stacklevel=2)
    piped = config.format != "rich" and config.output is None  # what is printed is a file's content
    for path in filter(None, (config[name] for name in _FILES)):
        print(f"wrote {path}", file=sys.stderr if piped else sys.stdout)
    if not piped and folder.parent.is_dir():
        print(f"next: tensorboard --logdir {shlex.quote(config.log_dir)}")

    failed = [text for demand in required for text in demands.unmet(tables, *demand)]
    failed += [text for tag, limit in limits for text in demands.too_far(tables, tag, limit)]
    if failed:
        raise UserError("not met: " + "; ".join(failed))


def _disagreements(tables: Sequence[Table], data_dir: str) -> pictures.Picture:
    pairs = [pair for table in tables for pair in table.pairs]
    if not pairs:
        raise UserError(
            f"--disagreements: expected finished runs of both frameworks, of one seed and with {mistakes.FILE}, "
            f"found none; {_HOW}"
        )
    images = mnist.load(data_dir).test_images
    number = max((image for pair in pairs for misclassified in pair for image in misclassified), default=0)
    if number >= len(images):
        raise UserError(f"expected numbers of {len(images):,} test images in {mistakes.FILE}, got {number}")
    return draw(pairs, images)


def _tables(patterns: Sequence[str], typed: Sequence[tuple[str, str]], margins: Mapping[str, float]) -> list[Table]:
    aliases = dict(ALIASES)
    for tag, other in typed:
        aliases[tag] = (other, *aliases.get(tag, ()))
    folders = find_folders(patterns) if patterns else all_folders()
    found = [run for run in (read_run(folder, aliases, dict(typed)) for folder in folders) if run.points]
    if not found:
        places = ", ".join(map(str, folders)) or LOG_DIR
        raise UserError(f"expected runs with scalars, found none in {places}; {_HOW}")
    for _, name in typed:
        if not any(name in run.points for run in found):
            raise UserError(f"--alias: expected a tag of these runs, got {name}, which none has")
    if patterns:
        return make_tables(found, margins)
    unfinished = [str(run.folder) for run in found if not run.finished]
    pair = newest_pair(found)
    if not pair:
        raise UserError(f"expected finished runs in {LOG_DIR}, found only {', '.join(unfinished)}; {_HOW}")
    tables = make_tables(pair, margins)
    tables[-1].notes.extend(f"{folder} has not finished; it is left out" for folder in unfinished)
    return tables
