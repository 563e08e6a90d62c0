"""``python -m benchmarks``: what its tables say of made-up figures. No time is asserted."""

import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks import __main__ as command_line
from benchmarks import race, report
from benchmarks.contestants.kernels import milliseconds
from benchmarks.race import Contestant, Race, Ratio
from benchmarks.races import RACES
from cnn_mnist.architecture.examples import EXAMPLES
from tests.conftest import PROJECT

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
        {"ours": {"milliseconds": a, "test/acc": 0.99}, "theirs": {"a": b + 1, "b": 1.0, "test/acc": 0.98}}
        for a, b in zip(ours, theirs, strict=True)
    ]
    summary = report.summarize(MADE_UP, rounds)
    (ratio,) = summary["ratios"]
    assert (ratio["lower"], ratio["median"], ratio["upper"], ratio["n"]) == pytest.approx((0.2, 0.3, 0.4, 3))
    assert summary["figures"]["theirs"]["median"] == 10
    text = report.markdown(summary)
    assert "| ours | 4 | 2.5 to 6.5 | 0.9900 | 3 |" in text
    assert "| ours / theirs | 0.30 | 0.2 to 0.4 | 3 |" in text


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
    total = sum(layer.multiply_adds for layer in EXAMPLES["three_conv"].placed)
    assert total == 26 * 26 * 9 * 32 + 11 * 11 * 288 * 64 + 3 * 3 * 576 * 64 + 576 * 64 + 640


def test_a_command_that_fails_in_the_kernels_account_is_named_with_its_own_last_words(tmp_path):
    account = Contestant("one", ("-m", "benchmarks.contestants.kernels", "-c", "import sys; sys.exit('no such thing')"))
    with pytest.raises(RuntimeError, match=r"failed: no such thing$"):
        race.run(account, tmp_path, 0)


def test_the_kernels_are_the_convolutions_of_the_last_half():
    convolution = "onednn_verbose,v1,primitive,exec,cpu,convolution,jit:avx512_core,forward_training,,,,mb64,{}"
    reorder = "onednn_verbose,v1,primitive,exec,cpu,reorder,jit:uni,undef,,,,64x1x28x28,100"
    made = "onednn_verbose,v1,primitive,create:cache_miss,cpu,convolution,brgconv,forward_training,,,,mb64,100"
    other = "epoch 1/2, cpu"
    told = [other, made, *map(convolution.format, (5, 6)), reorder, *map(convolution.format, (1.5, 2)), other]
    assert milliseconds("\n".join(told)) == 3.5


@pytest.mark.parametrize("name", RACES)
def test_every_ratio_is_of_contestants_of_its_race(name):
    names = {contestant.name for contestant in RACES[name].contestants}
    assert all({ratio.name, ratio.over} <= names for ratio in RACES[name].ratios)


def test_an_unknown_race_lists_the_known_ones(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["benchmarks", "horses"])
    with pytest.raises(SystemExit):
        command_line.main()
    assert "expected 1 or more rounds of step, backends, evaluation, waiting" in capsys.readouterr().err


def test_a_contestant_has_its_variables_and_others_beside_it_that_end_with_it(tmp_path):
    look = "import json, os; print(json.dumps({{'seconds': int(os.environ['OF_TODAY'])}}))"
    contestant = Contestant("one", ("-c", look), environment={"OF_TODAY": "7"}, busy=1)
    assert race.run(contestant, tmp_path, 0)["seconds"] == 7


def test_busy_processes_end_with_a_race_that_is_killed(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from benchmarks.race import Contestant, run
die = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
run(Contestant("one", ("-c", die), busy=1), Path({str(tmp_path)!r}), 0)
"""
    race_of_one = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, timeout=15)
    assert race_of_one.returncode == -signal.SIGKILL  # its pipes are closed, by the busy one as well
    no_longer_its_parent = "0"  # killed before the busy one looked
    subprocess.run([sys.executable, "-c", race._COUNTS, no_longer_its_parent], check=True, timeout=15)


def test_a_race_that_is_interrupted_prints_and_keeps_the_rounds_it_had_and_goes_on_there(monkeypatch, capsys, tmp_path):
    output = tmp_path / "rounds.jsonl"
    output.write_text('{"machine": "one that died he')
    monkeypatch.setattr(sys, "argv", ["benchmarks", "made_up", "--rounds=3", f"--output={output}"])
    monkeypatch.setattr(command_line, "RACES", {"made_up": MADE_UP})
    monkeypatch.setattr(command_line.mnist, "load_mnist", lambda folder: None)

    def two_rounds(contestant, data_dir, number):
        if number == 2:
            raise KeyboardInterrupt
        return {"milliseconds": 1.0 + number, "a": 4.0, "b": 0.0, "test/acc": 0.99}

    monkeypatch.setattr(command_line, "run", two_rounds)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        command_line.main()
    assert "| ours | 1.5 | 1.25 to 1.75 | 0.9900 | 2 |" in capsys.readouterr().out
    asked = []
    monkeypatch.setattr(command_line, "run", lambda one, _, number: asked.append(number) or two_rounds(one, _, 0))
    command_line.main()
    assert asked == [2, 2]
    assert "| ours | 1 | 1 to 1.5 | 0.9900 | 3 |" in capsys.readouterr().out
    output.write_text(output.read_text().replace("cores", "coins"))  # another machine
    command_line.main()
    assert asked == [2, 2, 0, 0, 1, 1, 2, 2]
    for other in ({"arguments": ("-c", "fewer steps")}, {"environment": {"OMP_NUM_THREADS": "1"}}, {"busy": 1}):
        asked.clear()
        again = tuple(replace(one, **other) for one in MADE_UP.contestants)
        monkeypatch.setattr(command_line, "RACES", {"made_up": replace(MADE_UP, contestants=again)})
        command_line.main()
        assert asked == [0, 0, 1, 1, 2, 2]
