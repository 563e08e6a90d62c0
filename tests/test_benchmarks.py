"""``python -m benchmarks``: what its tables say of made-up figures. No time is asserted."""

import json
import sys

import pytest

from benchmarks import __main__ as command_line
from benchmarks import race, report
from benchmarks.contestants.gemm import multiply_adds
from benchmarks.race import Contestant, Race, Ratio
from benchmarks.races import RACES

MADE_UP = Race(
    title="made up",
    unit="s",
    contestants=(Contestant("ours", ("-c", "")), Contestant("theirs", ("-c", ""), lambda f: f["a"] - f["b"])),
    ratios=(Ratio("ours", "theirs"),),
    also=("test/acc",),
)


def test_ratios_are_taken_in_each_round_before_the_median():
    ours, theirs = (1.0, 4.0, 9.0), (10.0, 8.0, 30.0)
    rounds = [
        {"ours": {"seconds": a, "test/acc": 0.99}, "theirs": {"a": b + 1, "b": 1.0, "test/acc": 0.98}}
        for a, b in zip(ours, theirs, strict=True)
    ]
    summary = report.summarize(MADE_UP, rounds)
    (ratio,) = summary["ratios"]
    assert (ratio["median"], ratio["least"], ratio["greatest"], ratio["n"]) == pytest.approx((0.3, 0.1, 0.5, 3))
    assert summary["figures"]["theirs"]["median"] == 10
    text = report.markdown(summary)
    assert "| ours | 4 | 1 to 9 | 0.9900 | 3 |" in text
    assert "| ours / theirs | 0.30 | 0.1 to 0.5 |" in text


def test_a_process_is_read_by_its_last_line_and_measured_whole(tmp_path):
    figures = race.run(Contestant("one", ("-c", "print('{{\"seconds\": {round}}}')")), tmp_path, 3)
    assert figures["seconds"] == 3
    assert figures["wall_seconds"] > 0
    assert figures["peak_bytes"] > 1e6


def test_a_command_of_the_product_is_read_by_its_log(tmp_path, make_run):
    make_run("pytorch")
    copy = f"import shutil; shutil.copytree({str(tmp_path / 'lightning_logs')!r}, '{{log}}')"
    assert race.run(Contestant("ours", ("-c", copy), "test/acc"), tmp_path, 0)["test/acc"] == pytest.approx(0.991)


def test_a_process_that_fails_is_named_with_its_last_words(tmp_path):
    with pytest.raises(RuntimeError, match=r"one: .* failed: .*ZeroDivisionError"):
        race.run(Contestant("one", ("-c", "1 / 0")), tmp_path, 0)


def test_the_floor_counts_the_multiply_adds_of_the_design():
    assert multiply_adds("three_conv") == 26 * 26 * 9 * 32 + 11 * 11 * 288 * 64 + 3 * 3 * 576 * 64 + 576 * 64 + 640


@pytest.mark.parametrize("name", RACES)
def test_every_ratio_is_of_contestants_of_its_race(name):
    names = {contestant.name for contestant in RACES[name].contestants}
    assert all({ratio.name, ratio.over} <= names for ratio in RACES[name].ratios)


def test_an_unknown_race_lists_the_known_ones(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "horses"])
    with pytest.raises(SystemExit):
        command_line.main()
    assert "expected 1 or more rounds of epoch, bf16" in capsys.readouterr().err


def test_a_race_that_is_interrupted_prints_and_keeps_the_rounds_it_had(monkeypatch, capsys, tmp_path):
    output = tmp_path / "figures.json"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "made_up", "--rounds=3", f"--output={output}"])
    monkeypatch.setattr(command_line, "RACES", {"made_up": MADE_UP})
    monkeypatch.setattr(command_line.mnist, "load", lambda folder: None)

    def two_rounds(contestant, data_dir, number):
        if number == 2:
            raise KeyboardInterrupt
        return {"seconds": 1.0 + number, "a": 4.0, "b": 0.0, "test/acc": 0.99}

    monkeypatch.setattr(command_line, "run", two_rounds)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        command_line.main()
    assert "| ours | 1.5 | 1 to 2 | 0.9900 | 2 |" in capsys.readouterr().out
    (race_,) = json.loads(output.read_text())["races"]
    assert race_["figures"]["theirs"]["n"] == 2
