"""Tables on a terminal of any width: no word and no figure is broken, no line is too long."""

import re

import pytest

from cnn_mnist.architecture.examples import EXAMPLES
from cnn_mnist.architecture.network import layer_table
from cnn_mnist.console.tables import print_table, wrapped

WIDTHS = [80, 100, 140]
LADDER = [
    ["rung", "compared", "greatest difference", "limit", "verdict", "where"],
    ["4", "activations after every layer, float32, relative", "3.6e-07", "1e-05", "holds", "dense1_relu"],
    ["11", "accuracy after 100 updates, each with its own framework's random numbers", "nan", "", "BREAKS", "step 71"],
]
RESULTS = [
    ["", "loss", "accuracy"],
    ["train, running mean of the last epoch", "0.0074", "0.9977"],
    ["test set, final weights", "0.0369", "0.9918"],
]
INTERVALS = [["setting", *(f"Keras {n} (n = 10)" for n in range(1, 9))], ["acc test", *["0.9921 ± 0.0007"] * 8]]


@pytest.fixture
def printed(monkeypatch, capsys):
    """What ``print_table`` prints in a terminal of that width."""

    def run(width, rows, **others):
        monkeypatch.setenv("COLUMNS", str(width))
        print_table(rows, **others)
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("rows", [LADDER, RESULTS, INTERVALS, layer_table(EXAMPLES["three_conv"])])
def test_a_table_fits_and_every_word_and_figure_is_whole(printed, rows, width):
    out = printed(width, rows)
    assert max(map(len, out.splitlines())) <= width
    for cell in (cell for row in rows for cell in row):
        for part in wrapped(cell, 1):
            assert re.search(rf"(?<!\S){re.escape(part)}(?![^\s:])", out), part


def test_a_figure_stays_in_one_line_with_its_interval_its_arithmetic_and_its_mark():
    assert wrapped("acc 0.9921 ± 0.0007 of 320 = (3*3*1+1)*32 or 0.022975 * (n = 10)", 1) == [
        "acc", "0.9921 ± 0.0007", "of", "320 = (3*3*1+1)*32", "or", "0.022975 *", "(n = 10)",
    ]  # fmt: skip


def test_what_fits_is_not_wrapped_and_figures_are_aligned_to_the_right(printed):
    assert [line.rstrip() for line in printed(80, RESULTS, title="results").splitlines()] == [
        "results",
        "                                         loss  accuracy",
        "───────────────────────────────────────────────────────",
        "train, running mean of the last epoch  0.0074    0.9977",
        "test set, final weights                0.0369    0.9918",
        "",
    ]


def test_headers_wrap_before_cells_do_and_long_texts_before_short_ones(printed):
    wide, narrow = printed(125, LADDER).splitlines(), printed(80, LADDER).splitlines()
    assert ("greatest" in wide[0], "difference" in wide[1]) == (True, True)
    assert LADDER[2][1] in wide[4]
    assert [line.split()[-1] for line in narrow[3:5]] == ["dense1_relu", "relative"]


def test_a_table_that_cannot_fit_becomes_a_block_for_each_row(printed):
    out = printed(80, [*INTERVALS, ["acc train", "", *["0.9980"] * 7]])
    assert out.startswith("setting acc test\n  Keras 1 (n = 10): 0.9921 ± 0.0007\n  Keras 2")
    assert "\n\nsetting acc train\n  Keras 2 (n = 10): 0.9980\n" in out


def test_a_word_longer_than_the_terminal_is_whole_and_brackets_are_no_markup(printed):
    name = f"[1]{'x' * 90}.png"
    assert f"\n    {name}\n  digit: 3\n" in printed(80, [["file", "digit"], [name, "3"]])
