"""The progress bar, in both trainers."""

import os
import re
import subprocess
import sys

import pytest
from rich.console import Console

from cnn_mnist.console import progress
from cnn_mnist.console.progress import Bar
from keras_parity import read_run

pytestmark = pytest.mark.usefixtures("use_tiny_mnist")
FIGURES = {"train/loss": 0.1234, "train/acc": 0.9876, "val/loss": 0.0567, "val/acc": 0.9912}


def test_its_line_fits_80_columns_with_all_figures(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    bar = Bar()
    bar.start("epoch 10/10", 938)
    bar.move(938, FIGURES)
    bar.stop()
    (line,) = capsys.readouterr().out.splitlines()
    assert len(line) <= 80
    assert line.rstrip().endswith("loss 0.1234 acc 0.9876 val 0.0567 0.9912")


def test_turned_off_it_prints_nothing(capsys):
    bar = Bar(enabled=False)
    bar.start("epoch 1/1", 2)
    bar.move(2, FIGURES)
    bar.stop()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("package", ["cnn_mnist", "keras_parity"])
def test_a_notebook_without_ipywidgets_gets_a_line_for_each_epoch(command, package, monkeypatch):
    monkeypatch.setattr(progress, "get_console", lambda: Console(force_jupyter=True))
    monkeypatch.setattr(progress, "find_spec", lambda name: None)
    flags = ("--trainer.max_epochs=2", "--trainer.accelerator=cpu", "--data.val_size=50")
    _, out, err = command(package, *["fit"] * (package == "cnn_mnist"), *flags)
    assert err == ""
    assert re.findall(r"^epoch (\d)/2  4/4  \d+ s  loss \S+ acc \S+ val \S+ \S+$", out, re.MULTILINE) == ["1", "2"]


@pytest.mark.parametrize("package", ["cnn_mnist", "keras_parity"])
def test_each_epoch_has_its_own_figures_counted_from_1(command, tmp_path, package):
    flags = ("--trainer.max_epochs=2", "--trainer.accelerator=cpu", "--data.val_size=50")
    code, out, err = command(package, *["fit"] * (package == "cnn_mnist"), *flags)
    assert (code, err) == (0, "")
    lines = re.findall(r"epoch (\d)/2 .* 4/4 .*loss (\S+) acc (\S+) val (\S+) (\S+)", out)
    (run,) = (tmp_path / "lightning_logs").rglob("version_0")
    points = read_run(run).points
    for epoch, line in enumerate(lines):
        values = [points[tag][epoch].value for tag in FIGURES]
        assert line == (str(epoch + 1), *(f"{value:.4f}" for value in values))
    assert len(lines) == 2


PROGRAM = (
    "from cnn_mnist.console.progress import status\n"
    "import sys\n"
    "with status('working', 2) as update:\n"
    "    print('a line')\n"
    "    update(completed=1)\n"
    "    print('an error', file=sys.stderr)\n"
)


@pytest.mark.parametrize("to_file", ["stdout", "stderr"])
def test_a_stream_that_goes_to_a_file_gets_its_lines_though_the_other_is_a_terminal(tmp_path, to_file):
    ours, terminal = os.openpty()
    other = "stderr" if to_file == "stdout" else "stdout"
    with (tmp_path / "file").open("w") as file:
        subprocess.run([sys.executable, "-c", PROGRAM], **{to_file: file, other: terminal}, check=True)
    drawn = os.read(ours, 1 << 16).decode()
    lines = {"stdout": "a line\n", "stderr": "an error\n"}
    assert (tmp_path / "file").read_text() == lines[to_file]
    assert lines[other].strip() in drawn
    assert ("working" in drawn) is (other == "stderr")
