"""``python -m keras_parity compare``: flags in, the tables out."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from cnn_mnist.console.arguments import OneLineErrors
from cnn_mnist.data import mnist
from cnn_mnist.errors import UserError, UserNotice
from cnn_mnist.runs import mistakes, pictures
from cnn_mnist.runs.folder import LOG_DIR
from cnn_mnist.settings import DataSettings
from keras_parity.compare import demands, report
from keras_parity.compare.disagreements import draw
from keras_parity.compare.table import Table, make_tables
from keras_parity.logs.event_files import read_pictures
from keras_parity.logs.event_writer import Summary, charts, picture, text_page, write_events
from keras_parity.logs.run import ALIASES, all_folders, find_folders, newest_pair, read_run

_HOW = "python -m cnn_mnist fit and python -m keras_parity make them"


def build_parser() -> OneLineErrors:
    """The flags of ``compare``."""
    parser = OneLineErrors(
        prog="python -m keras_parity compare",
        description="Prints the published table again, with today's columns read from event files.",
    )
    parser.add_argument(
        "runs",
        nargs="*",
        default=[],
        help="Run folders or globs; without any, the newest finished run of each framework that share settings.",
    )
    parser.add_argument("--format", default="rich", help=f"One of rich, {', '.join(report.FORMATS)}.")
    parser.add_argument("--output", type=str | None, default=None, help="File for the table in place of the terminal.")
    parser.add_argument(
        "--figure", type=str | None, default=None, help="File for a picture of curves and table, such as table.png."
    )
    parser.add_argument("--require", action="append", default=[], help="A demand, such as 'test/acc >= 0.985'.")
    parser.add_argument(
        "--max_difference", action="append", default=[], help="Greatest difference, such as 'test/acc=0.003'."
    )
    parser.add_argument(
        "--margin",
        action="append",
        default=[],
        help="Greatest difference that counts as none, such as 'test/acc=0.002'.",
    )
    parser.add_argument(
        "--disagreements",
        type=str | None,
        default=None,
        help="File for a picture of the test images that both read differently, such as digits.png.",
    )
    parser.add_argument(
        "--pictures", type=str | None, default=None, help="Folder for the pictures in the runs' logs, as PNG files."
    )
    parser.add_argument("--log_dir", default=LOG_DIR, help="Where TensorBoard finds the tables, in compare.")
    parser.add_argument("--data.data_dir", default=DataSettings().data_dir, help="Folder of the images for it.")
    parser.add_argument(
        "--alias", action="append", default=[], help="Another name of a tag, such as 'test/acc=my_accuracy'."
    )
    return parser


def main(args: list[str]) -> None:
    """Prints the tables; exits with 1 where a demand is not met.

    Args:
        args: The arguments after ``compare``.

    Raises:
        UserError: A mistake that the user can mend.
    """
    config = build_parser().parse_args(args)
    if config.format != "rich" and config.format not in report.FORMATS:
        raise UserError(f"--format: expected one of rich, {', '.join(report.FORMATS)}, got {config.format}")
    required = [demands.demand(text) for text in config.require]
    limits = [demands.limit(text, "--max_difference") for text in config.max_difference]
    margins = dict(demands.limit(text, "--margin") for text in config.margin)
    if config.figure is not None and Path(config.figure).suffix not in report.PICTURES:
        raise UserError(f"--figure: expected a file that ends in {', '.join(report.PICTURES)}, got {config.figure}")
    if config.disagreements is not None and Path(config.disagreements).suffix != ".png":
        raise UserError(f"--disagreements: expected a file that ends in .png, got {config.disagreements}")
    folders = {path: Path(path).parent for path in (config.output, config.figure, config.disagreements) if path}
    folders |= {config.pictures: Path(config.pictures)} if config.pictures else {}
    for path, folder in folders.items():
        if not folder.is_dir():
            raise UserError(f"expected a folder that exists, got {folder}, for {path}; make it first")

    tables, page = _tables(config.runs, config.alias, margins), [charts("Keras and PyTorch", report.CHARTS)]
    try:
        _put_out(tables, config.format, config.output, config.figure)
        if config.disagreements is not None:
            drawn = _disagreements(tables, config.data.data_dir)
            pictures.save(drawn, config.disagreements)
            page.append(picture("compare/disagreements", drawn))
        if config.pictures is not None:
            _write_pictures(tables, Path(config.pictures))
    except OSError as error:
        raise UserError(f"expected a file that can be written, got {error.filename} ({error.strerror})") from None
    _into_tensorboard(config.log_dir, [text_page(report.COMPARE_TAG, report.to_markdown(tables)), *page])

    failed = [text for demand in required for text in demands.unmet(tables, *demand)]
    failed += [text for tag, limit in limits for text in demands.too_far(tables, tag, limit)]
    if failed:
        raise UserError("not met: " + "; ".join(failed))


def _put_out(tables: Sequence[Table], form: str, output: str | None, figure: str | None) -> None:
    if output is not None:
        Path(output).write_text(report.FORMATS["markdown" if form == "rich" else form](tables))
    elif form == "rich":
        report.print_rich(tables)
    else:
        print(report.FORMATS[form](tables), end="")
    if figure is not None:
        report.draw(tables, Path(figure))


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


def _write_pictures(tables: Sequence[Table], folder: Path) -> None:
    for run in (run for table in tables for column in table.columns for run in column.runs):
        for tag, png in read_pictures(run.folder).items():
            name = "-".join((run.framework, run.folder.name, *tag.split("/")))
            (folder / f"{name}.png").write_bytes(png)


def _tables(patterns: Sequence[str], alias: Sequence[str], margins: Mapping[str, float]) -> list[Table]:
    aliases, typed = dict(ALIASES), set[str]()
    for text in alias:
        tag, _, other = text.partition("=")
        demands.known(tag, "--alias")
        if not other:
            raise UserError(f"--alias: expected TAG=NAME, such as test/acc=my_accuracy, got {text}")
        aliases[tag] = (other, *aliases.get(tag, ()))
        typed.add(tag)
    folders = find_folders(patterns) if patterns else all_folders()
    if not folders:
        raise UserError(f"expected runs in {LOG_DIR}, found none; {_HOW}")
    found = [run for run in (read_run(folder, aliases, typed) for folder in folders) if run.points]
    if not found:
        raise UserError(f"expected runs with scalars, found none in {', '.join(map(str, folders))}; {_HOW}")
    for text in alias:
        name = text.partition("=")[2]
        if not any(name in run.points for run in found):
            raise UserError(f"--alias: expected a tag of these runs, got {name}, which none has")
    if not patterns:
        unfinished = [str(run.folder) for run in found if not run.finished]
        found = newest_pair(found)
        if not found:
            raise UserError(f"expected finished runs in {LOG_DIR}, found only {', '.join(unfinished)}; {_HOW}")
        tables = make_tables(found, margins)
        tables[-1].notes.extend(f"{folder} has not finished; it is left out" for folder in unfinished)
        return tables
    return make_tables(found, margins)


def _into_tensorboard(log_dir: str, page: Sequence[Summary]) -> None:
    if not Path(log_dir).is_dir():
        return
    folder = Path(log_dir, report.COMPARE_TAG)
    try:
        write_events(folder, page)
    except OSError as error:
        warnings.warn(UserNotice(f"{folder} was not written ({error.strerror})"), stacklevel=2)
