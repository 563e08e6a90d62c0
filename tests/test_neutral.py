"""Text of other people: no terminal, spreadsheet or page obeys it, and every terminal prints ours."""

import csv
import io
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cnn_mnist.console.tables import markdown_table, print_table, print_text
from cnn_mnist.neutral import csv_cell, markdown_text, printable
from tests.conftest import PROJECT

TEXTS = st.text(st.one_of(st.characters(), st.sampled_from("\x1b\x07\x9b\r=+-@|<>*`[]&\\\u202e")), max_size=30)


@given(TEXTS)
def test_no_text_holds_what_a_terminal_obeys(text):
    shown = printable(text)
    assert all(c.isprintable() or c in "\n\t\N{NO-BREAK SPACE}" for c in shown)
    assert shown == text or any(not c.isprintable() for c in text)


@given(TEXTS)
def test_no_table_prints_what_a_terminal_obeys(text):
    out = io.StringIO()
    print_table([["name", "value"], [text, text]], title=text, file=out)
    print_text(text, out)
    assert all(c.isprintable() or c in "\n\t\N{NO-BREAK SPACE}" for c in out.getvalue())


@given(TEXTS)
def test_no_cell_is_a_formula(text):
    assert not csv_cell(text).startswith(("=", "+", "-", "@", "\t", "\r")) or text[1:2].isdigit()
    assert csv_cell(csv_cell(text)) == csv_cell(text)


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "@SUM(A1)", "+1+cmd|x", "-2+3", "\t=1", "-1", "=", "+A1"])
def test_a_formula_gets_an_apostrophe_and_a_figure_none(text):
    assert csv_cell(text) == text if text == "-1" else csv_cell(text).startswith("'")


@pytest.mark.parametrize(
    "figure", ["-0.0012", "+0.0012 ± 0.0007", "-14.5% (-20.0, +25.7)", "+1e-05", "-inf", -1.5, None]
)
def test_figures_stay(figure):
    assert csv_cell(figure) == figure


@given(st.lists(TEXTS, min_size=2, max_size=2))
def test_markdown_keeps_its_columns_and_holds_no_html(cells):
    line = markdown_table([["a", "b"], cells]).splitlines()
    assert len(line) == 3
    assert line[2].replace("\\\\", "").replace(r"\|", "").count("|") == 3
    assert "<" not in markdown_text(cells[0])


@pytest.mark.parametrize("encoding", ["ascii", "cp874", "cp437", "latin-1", "utf-8"])
def test_every_terminal_prints_the_tables(make_run, tmp_path, encoding):
    for seed in range(3):
        for framework in ("keras", "pytorch"):
            make_run(framework, seed, seed=seed, **{"test/acc": 0.99 + seed / 1000})
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "keras_parity", "compare", "lightning_logs"]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert answer.returncode == 0, answer.stderr
    out = answer.stdout.decode(encoding)
    assert ("±" if encoding in ("latin-1", "utf-8") else "+-") in out or encoding == "cp437"


def test_names_of_folders_and_settings_reach_no_terminal_and_no_spreadsheet(command, make_run, tmp_path):
    evil = tmp_path / "=cmd\x1b]0;owned\x07|<b>*"
    for framework in ("keras", "pytorch"):
        made = make_run(framework, epochs=2, settings={"architecture": "@SUM(\x1b[2J|<script>)"})
        evil.mkdir(exist_ok=True)
        made.rename(evil / framework)
    for form in ("rich", "csv", "markdown", "html", "json"):
        code, out, err = command("keras_parity", "compare", evil.name, f"--format={form}")
        assert code == 0, err
        assert "\x1b" not in out + err
        assert "\x07" not in out + err
        assert "<script>" not in out or form in ("rich", "json", "csv")
    _, out, _ = command("keras_parity", "compare", evil.name, "--format=csv")
    cells = [cell for line in csv.reader(io.StringIO(out)) for cell in line]
    assert not any(cell.startswith(("=", "@")) for cell in cells)
    code, _, err = command("cnn_mnist", "fit", "--config=\x1b[2J.yaml")
    assert (code, "\x1b" in err) == (2, False)


def test_a_picture_with_a_hostile_name_reaches_no_spreadsheet(command, train, tmp_path):
    quiet = "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu", "--trainer.max_epochs=1"
    run = train("cnn_mnist", "fit", *quiet)
    page = np.pad(np.full((40, 6), 255, np.uint8), 30)
    Image.fromarray(page).save(tmp_path / "=1+1\x1b[2J.png")
    for flags in ((), ("--output=a.csv",), ("--figure=a.png",)):
        code, out, err = command("cnn_mnist", "predict", f"--ckpt_path={run}", "=1+1\x1b[2J.png", *flags)
        assert code == 0, err
        assert "\x1b" not in out + err
    assert "'=1+1" in (tmp_path / "a.csv").read_text()
