"""The results as one self-contained HTML page."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from cnn_mnist.data.known_sets import KNOWN_SETS
from cnn_mnist.runs import pictures
from keras_parity.compare import curves
from keras_parity.compare.report import Table, headlines, html_table, notes, rows, what_differs
from keras_parity.compare.sides import known_settings


def to_html(tables: Sequence[Table], disagreements: pictures.Picture | None = None) -> str:
    """Renders the page: verdicts, tables, curves with bands, confusion matrices, disagreements, settings, notes.

    Args:
        tables: The tables.
        disagreements: The picture of the images that two columns predict differently; None for no picture.

    Returns:
        The page; it loads no other file.
    """
    from jinja2 import Environment, FileSystemLoader  # slow to import, and only for this format

    columns = [column for table in tables for column in table.columns if column.runs]
    confusions = []
    for column in columns:
        if known := [run.mistakes for run in column.runs if run.mistakes is not None]:
            counts = Counter(pair for mistakes in known for pair in mistakes.values())
            settings, classes = column.runs[0].settings, range(max(map(max, counts), default=0) + 1)
            named = KNOWN_SETS.get(settings.get("data.dataset", "")) if settings.get("data.file") is None else None
            confusions.append((column.title, len(known), counts, named.classes if named else classes))
    first = [known_settings(column.runs[0]) for column in columns]
    names = dict.fromkeys(name for values in first for name in values)
    svg = io.StringIO()
    curves.draw(tables).savefig(svg, format="svg")
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, keep_trailing_newline=True)
    environment.filters["html_table"] = html_table
    return environment.get_template("page.html").render(
        headlines=headlines(tables),
        verdicts=[table.where + line for table in tables for line in curves.primary_lines(table)],
        tables=[(table.title or "Results", rows(table)) for table in tables],
        curves=svg.getvalue()[svg.getvalue().index("<svg") :],  # without the XML header
        confusions=confusions,
        png="" if disagreements is None else base64.b64encode(pictures.png(disagreements)).decode(),
        differences=what_differs(tables),
        held=[
            ["setting", *(f"{column.title}: {column.runs[0].folder}" for column in columns)],
            *([name, *(str(values.get(name, "")) for values in first)] for name in names),
        ],
        notes=notes(tables),
    )
