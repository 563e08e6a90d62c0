"""``python -m keras_parity compare``: flags in, the table out.

Above the ground floor, no framework: imported by ``__main__`` alone.
"""

import operator
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from cnn_mnist import runs
from cnn_mnist.arguments import OneLineErrors
from cnn_mnist.errors import UserError, UserNotice
from keras_parity import report
from keras_parity.event_writer import charts, text_page, write_events
from keras_parity.logs import ALIASES, all_folders, find_folders, newest_pair, read_run
from keras_parity.table import ROWS, Table, make_table

_HOW = "python -m cnn_mnist fit and python -m keras_parity make them"
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


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
        "--alias", action="append", default=[], help="Another name of a tag, such as 'test/acc=my_accuracy'."
    )
    return parser


def main(args: list[str]) -> None:
    """Prints the table; exits with 1 where a demand is not met.

    Args:
        args: The arguments after ``compare``.

    Raises:
        UserError: A mistake that the user can mend.
    """
    config = build_parser().parse_args(args)
    if config.format != "rich" and config.format not in report.FORMATS:
        raise UserError(f"--format: expected one of rich, {', '.join(report.FORMATS)}, got {config.format}")
    demands = [_demand(text) for text in config.require]
    limits = [_pair(text, "--max_difference", "test/acc=0.003") for text in config.max_difference]
    if config.figure is not None and Path(config.figure).suffix not in report.PICTURES:
        raise UserError(f"--figure: expected a file that ends in {', '.join(report.PICTURES)}, got {config.figure}")
    for path in filter(None, (config.output, config.figure)):
        if not Path(path).parent.is_dir():
            raise UserError(f"expected a folder that exists, got {Path(path).parent}, for {path}; make it first")

    table = _table(config.runs, config.alias)
    try:
        _put_out(table, config.format, config.output, config.figure)
    except OSError as error:
        raise UserError(f"expected a file that can be written, got {error.filename} ({error.strerror})") from None
    _into_tensorboard(table)

    failed = [text for demand in demands for text in _unmet(table, *demand)]
    failed += [text for tag, limit in limits for text in _too_far(table, tag, limit)]
    if failed:
        raise UserError("not met: " + "; ".join(failed))


def _put_out(table: Table, form: str, output: str | None, figure: str | None) -> None:
    if output is not None:
        Path(output).write_text(report.FORMATS["markdown" if form == "rich" else form](table))
    elif form == "rich":
        report.print_rich(table)
    else:
        print(report.FORMATS[form](table), end="")
    if figure is not None:
        report.draw(table, Path(figure))


def _table(patterns: Sequence[str], alias: Sequence[str]) -> Table:
    aliases, typed = dict(ALIASES), set[str]()
    for text in alias:
        tag, _, other = text.partition("=")
        _known(tag, "--alias")
        if not other:
            raise UserError(f"--alias: expected TAG=NAME, such as test/acc=my_accuracy, got {text}")
        aliases[tag] = (other, *aliases.get(tag, ()))
        typed.add(tag)
    folders = find_folders(patterns) if patterns else all_folders()
    if not folders:
        raise UserError(f"expected runs in {runs.LOG_DIR}, found none; {_HOW}")
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
            raise UserError(f"expected finished runs in {runs.LOG_DIR}, found only {', '.join(unfinished)}; {_HOW}")
        table = make_table(found)
        table.notes.extend(f"{folder} has not finished; it is left out" for folder in unfinished)
        return table
    return make_table(found)


def _known(tag: str, flag: str) -> None:
    if tag not in ROWS:
        raise UserError(f"{flag}: expected one of the tags {', '.join(ROWS)}, got {tag}")


def _demand(text: str) -> tuple[str, str, float]:
    match = re.fullmatch(r"\s*(\S+?)\s*(>=|<=|>|<)\s*(\S+)\s*", text)
    try:
        tag, comparison, bound = match.groups() if match else ("", "", "")
        number = float(bound)
    except ValueError:
        raise UserError(
            f"--require: expected TAG, comparison and number, such as 'test/acc >= 0.985', got {text}"
        ) from None
    _known(tag, "--require")
    return tag, comparison, number


def _pair(text: str, flag: str, example: str) -> tuple[str, float]:
    tag, _, bound = text.partition("=")
    try:
        number = float(bound)
    except ValueError:
        raise UserError(f"{flag}: expected TAG=NUMBER, such as {example}, got {text}") from None
    _known(tag.strip(), flag)
    return tag.strip(), number


def _unmet(table: Table, tag: str, comparison: str, bound: float) -> list[str]:
    columns = [column for column in table.columns if column.runs]
    missing = [f"{column.title} has no {tag}" for column in columns if tag not in column.cells]
    return missing + [
        f"{column.title} {tag} = {column.cells[tag].mean:.6g}, required {comparison} {bound:g}"
        for column in columns
        if tag in column.cells and not _COMPARISONS[comparison](column.cells[tag].mean, bound)
    ]


def _too_far(table: Table, tag: str, limit: float) -> list[str]:
    if tag not in table.difference:
        return [f"no difference of {tag}: one column of each framework is needed"]
    difference = table.difference[tag]
    return [f"{tag} differs by {difference:+.6g}, allowed {limit:g}"] if not abs(difference) <= limit else []


def _into_tensorboard(table: Table) -> None:
    if not Path(runs.LOG_DIR).is_dir():
        return
    try:
        page = [text_page(report.COMPARE_TAG, report.to_markdown(table)), charts("Keras and PyTorch", report.CHARTS)]
        write_events(report.COMPARE_FOLDER, page)
    except OSError as error:
        warnings.warn(UserNotice(f"{report.COMPARE_FOLDER} was not written ({error.strerror})"), stacklevel=2)
