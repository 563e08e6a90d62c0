"""``predict [IMAGE...]`` of both packages: the user's own digits, and the test set."""

import csv
import importlib
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from cnn_mnist.data import mnist
from cnn_mnist.data.digits import read as photos
from cnn_mnist.runs.mistakes import read_mistakes

LIGHTNING = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu")
RUNS = {"cnn_mnist": "lightning_logs/pytorch/version_0", "keras_parity": "lightning_logs/keras/version_0"}


TRAINING = {"cnn_mnist": ("fit", *LIGHTNING), "keras_parity": LIGHTNING[::2]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_mnist):
    """The run folder of a tiny training by each package, once for all tests."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(mnist, "load_mnist", lambda *_: tiny_mnist)
        for package, arguments in TRAINING.items():
            patch.setattr(sys, "argv", ["__main__.py", *arguments, "--trainer.max_epochs=1"])
            importlib.import_module(f"{package}.__main__").main()
    return {package: folder / run for package, run in RUNS.items()}


@pytest.fixture
def digits(tmp_path):
    """A folder with three images: bars."""
    folder = tmp_path / "digits"
    folder.mkdir()
    for row in (5, 12, 20):
        image = np.full((40, 30), 255, np.uint8)
        image[row : row + 4, 6:20] = 0
        image[row : row + 18, 10:14] = 0
        Image.fromarray(image).save(folder / f"[{row:02}].png")
    return folder


def test_table_file_and_figure_of_each_framework(command, digits, tmp_path, runs):
    for package, run in runs.items():
        (checkpoint,) = (run / "checkpoints").iterdir()
        code, table, err = command(package, "predict", f"--ckpt_path={run}", digits)
        assert (code, err) == (0, "")
        assert command(package, "predict", "--ckpt_path", checkpoint, digits)[1] == table
        code, out, err = command(
            package, "predict", f"--ckpt_path={run}", "--output=a.json", "--figure=a.png", *sorted(digits.iterdir())
        )
        weights = f"weights: {checkpoint}, the final ones of the run\n"
        assert (code, out, err) == (0, f"{weights}wrote a.json\nwrote a.png\n", "")
        command(package, "predict", f"--ckpt_path={run}", "--output=a.csv", digits)
        records = json.loads((tmp_path / "a.json").read_text())
        with open(tmp_path / "a.csv", newline="") as file:
            assert list(csv.DictReader(file)) == [{key: str(value) for key, value in row.items()} for row in records]
        assert [record["file"] for record in records] == [f"{digits}/[{row:02}].png" for row in (5, 12, 20)]
        for record in records:
            assert "[05].png" in table
            assert f"{record['probability']:.4f}" in table
        with Image.open(tmp_path / "a.png") as figure:
            assert np.asarray(figure).min() < 50 < 200 < np.asarray(figure).max()  # strokes on paper


def test_last_is_the_newest_run_of_the_framework_and_best_is_refused(command, digits, runs, monkeypatch):
    monkeypatch.chdir(runs["cnn_mnist"].parents[2])
    for package, run in runs.items():
        of_folder = command(package, "predict", f"--ckpt_path={run}", digits)
        assert of_folder[0] == 0
        of_last = command(package, "predict", "--ckpt_path=last", digits)
        assert of_last[1].replace("weights: ", f"weights: {runs['cnn_mnist'].parents[2]}/") == of_folder[1]
        code, _, err = command(package, "predict", "--ckpt_path=best", digits)
        assert (code, err.count("\n")) == (1, 1)
        assert "expected a run folder or last; a run keeps only its newest checkpoint" in err


def test_two_runs_stand_side_by_side_in_either_order(command, digits, tmp_path, runs, monkeypatch):
    alone, read, own = {}, [], photos.read_digits
    for package, run in runs.items():
        command(package, "predict", f"--ckpt_path={run}", "--output=alone.json", digits)
        alone[run.parent.name] = json.loads((tmp_path / "alone.json").read_text())
    monkeypatch.setattr(photos, "read_digits", lambda *words: read.append(words) or own(*words))
    monkeypatch.delattr(subprocess, "Popen")  # a process for one of them would read the pictures again
    for order in (1, -1):
        paths = [f"--ckpt_path={run}" for run in runs.values()][::order]
        code, _, err = command("keras_parity", "predict", *paths, "--output=both.json", "--figure=both.png", digits)
        assert (code, err) == (0, "")
        both = json.loads((tmp_path / "both.json").read_text())
        for place, record in enumerate(both):
            for name, records in alone.items():
                for field in ("digit", "probability"):
                    assert record[f"{name}_{field}"] == pytest.approx(records[place][field], rel=1e-5)
            assert record["differ"] == (record["keras_digit"] != record["pytorch_digit"])
    assert len(read) == 2  # once for each order


def test_a_disagreement_is_marked(capsys):
    from jsonargparse import Namespace

    from cnn_mnist.console.predictions import Prediction, write_predictions
    from cnn_mnist.data.splits import Digits

    predictions = {
        "keras": [Prediction(3, 0.5), Prediction(8, 0.9)],
        "pytorch": [Prediction(3, 0.6), Prediction(6, 0.7)],
    }
    write_predictions(
        Digits(["a.png", "b.png"], np.zeros((2, 28, 28), np.uint8)), predictions, Namespace(output=None, figure=None)
    )
    same, other = (line for line in capsys.readouterr().out.splitlines() if ".png" in line)
    assert "yes" not in same
    assert "yes" in other


def test_without_images_both_predict_the_test_set_as_their_runs_did(command, use_tiny_mnist, runs, tmp_path):
    right = {run.parent.name: 70 - len(read_mistakes(run)) for run in runs.values()}
    for package, run in runs.items():
        code, out, err = command(package, "predict", f"--ckpt_path={run}", "--data.data_dir=elsewhere")
        assert (code, err) == (0, "")
        assert f"{run.parent.name}: {right[run.parent.name]} of 70 test images right (" in out
        assert "first 20 of 70 test images" in out
        assert out.count("\n") < 30  # the first images only
    command("keras_parity", "predict", f"--ckpt_path={runs['keras_parity']}", "--output=a.csv")
    with open(tmp_path / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["image"]), int(row["label"])) for row in rows] == [(i, i % 10) for i in range(70)]
    assert [row["wrong"] for row in rows] == [str(row["digit"] != row["label"]) for row in rows]
    for row in rows:
        chances = [float(row[f"p{digit}"]) for digit in range(10)]
        assert sum(chances) == pytest.approx(1, abs=1e-5)
        assert chances[int(row["digit"])] == max(chances) == float(row["probability"])


@pytest.mark.parametrize("place", [0, 2])
def test_a_bare_invert_is_true_before_or_after_the_images(command, digits, tmp_path, runs, place):
    arguments = ["predict", f"--ckpt_path={runs['cnn_mnist']}", digits]
    tables = []
    for flag in ("--invert", "--invert=true", "--invert=false"):
        code, out, err = command("cnn_mnist", *arguments[: place + 1], flag, *arguments[place + 1 :])
        assert (code, [line for line in err.splitlines() if "reaches the edge" not in line]) == (0, [])
        tables.append(out)
    assert tables[0] == tables[1] != tables[2]


def test_help_tells_of_both_uses(command):
    for package in RUNS:
        code, out, _ = command(package, "predict", "--help")
        assert code == 0
        assert "or the test set" in out
        assert "--invert" in out


def test_pytorch_reads_without_lightning_and_keras_without_torch(run_python, digits, runs):
    for package, run, frameworks in zip(runs, runs.values(), ({"lightning", "keras"}, {"torch"}), strict=True):
        code = f"import sys; from {package}.__main__ import main; main(); print({frameworks} & sys.modules.keys())"
        answer = run_python("-c", code, "predict", f"--ckpt_path={run}", digits)
        assert answer.stdout.endswith("set()\n"), answer.stderr


@pytest.mark.parametrize("order", [1, -1])
def test_a_process_of_its_own_takes_both_frameworks(run_python, digits, runs, order):
    paths = [f"--ckpt_path={run}" for run in runs.values()][::order]
    answer = run_python("-m", "keras_parity", "predict", *paths, digits)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert answer.stdout.count(".png") == 3


NAMES = ["a b.png", "[x].png", "*.png", "ü.png", "new\nline.png", "~.png", "%s{}.png", "'\".png"]


def test_files_of_any_name_are_read_and_named_in_one_line(command, digits, tmp_path, runs):
    content = next(digits.iterdir()).read_bytes()
    (tmp_path / "odd").mkdir()
    for name in NAMES:
        (tmp_path / "odd" / name).write_bytes(content)
        (tmp_path / "odd" / f"bad {name}").write_text("text")
    (tmp_path / "odd" / "link.png").symlink_to(tmp_path / "odd" / "a b.png")
    (tmp_path / "odd" / "nowhere.png").symlink_to("missing")
    code, _, err = command("cnn_mnist", "predict", f"--ckpt_path={runs['cnn_mnist']}", "--output=a.json", "odd")
    assert (code, err.count("\n")) == (0, len(NAMES) + 1)
    records = json.loads((tmp_path / "a.json").read_text())
    assert {record["file"] for record in records} == {f"odd/{name}" for name in (*NAMES, "link.png")}


class TestMistakes:
    @pytest.fixture
    def refused(self, command, digits):
        """Runs ``python -m PACKAGE predict ARGUMENTS`` on good images and gives the one line of its error."""

        def run(package: str, *arguments: object, images: object = digits) -> str:
            code, out, err = command(package, "predict", *arguments, images)
            assert code in (1, 2)
            assert out == ""
            assert err.count("\n") == 1
            assert err.startswith(f"python -m {package}")
            return err

        return run

    def test_bad_images_among_good_ones_are_said_and_the_good_ones_read(self, command, digits, tmp_path, runs):
        good = (digits / "[05].png").read_bytes()
        (digits / "text.png").write_text("text")
        (digits / "truncated.png").write_bytes(good[: len(good) // 2])
        Image.new("L", (9, 9), 255).save(digits / "white.png")
        (tmp_path / "empty").mkdir()
        code, out, err = command(
            "cnn_mnist", "predict", f"--ckpt_path={runs['cnn_mnist']}", "missing.png", "empty", digits
        )
        assert code == 1  # a named file is missing; those in a folder are only reported
        assert out.count(".png") == 3
        *notices, error = err.splitlines()
        assert error.endswith("error: expected digits in every named picture, got none from missing.png")
        for line, word in zip(notices, ("missing.png", "empty", "text.png", "truncated.png", "white.png"), strict=True):
            assert line.startswith("python -m cnn_mnist: warning: ")
            assert word in line

    def test_no_image_that_can_be_read(self, refused, command, digits, tmp_path, runs):
        (tmp_path / "empty").mkdir()
        path = f"--ckpt_path={runs['cnn_mnist']}"
        assert "files, got empty, which has none" in refused("cnn_mnist", path, images="empty")
        assert "got no such file" in refused("cnn_mnist", path, images="missing.png")
        code, _, err = command("cnn_mnist", "predict", path, "missing.png", "empty")
        assert code == 1
        assert err.splitlines()[-1].endswith("expected a readable picture, got none; see the warnings")

    def test_flags(self, refused):
        for package in RUNS:
            assert "--ckpt_path" in refused(package)
            path = "--ckpt_path=run"
            error = refused(package, path, "--output=table.txt")
            assert "--output: expected a .csv or .json file, got table.txt" in error
            assert "--figure: expected a .png file, got a.gif" in refused(package, path, "--figure=a.gif")
            assert "expected a folder that exists, got none" in refused(package, path, "--output=none/table.csv")
            assert "invert" in refused(package, path, "--invert=maybe")
            assert "--outputs" in refused(package, path, "--outputs=a.csv")

    def test_checkpoints(self, refused, tmp_path, runs):
        (tmp_path / "run/checkpoints").mkdir(parents=True)
        for name in ("text.ckpt", "text.keras", "text.txt"):
            (tmp_path / name).write_text("text")
        for package in RUNS:
            error = refused(package, "--ckpt_path=run")
            assert "expected a run folder with a .ckpt or .keras file in its checkpoints folder, got run" in error
        assert "text.ckpt" in refused("cnn_mnist", "--ckpt_path=text.ckpt")
        for name in ("text.ckpt", "text.keras"):
            error = refused("keras_parity", f"--ckpt_path={name}")
            assert f"{name}: expected a whole file, got a damaged one" in error
        assert "a .keras file, a .ckpt file, or one of each framework, got text.txt" in refused(
            "keras_parity", "--ckpt_path=text.txt"
        )
        assert "python -m keras_parity predict" in refused("cnn_mnist", f"--ckpt_path={runs['keras_parity']}")
        twice = [f"--ckpt_path={runs['keras_parity']}"] * 2
        assert "expected one trained network, got 2;" in refused("cnn_mnist", *twice)
        assert "a .keras file, a .ckpt file, or one of each framework, got" in refused("keras_parity", *twice)


@pytest.mark.slow
def test_mnist_as_files_in_three_forms_is_read_as_well_as_mnist(command, data_dir, tmp_path):
    for package, arguments in TRAINING.items():
        command(package, *arguments, "--trainer.max_epochs=1", f"--data.data_dir={data_dir}")
    test = mnist.load_mnist(data_dir)
    labels = test.test_labels[:100]
    forms = {
        "as_it_is": lambda image: image,
        "large": lambda image: image.resize((200, 200), Image.Resampling.BICUBIC),
        "inverted": lambda image: image.point(lambda level: 255 - level),
    }
    for form, change in forms.items():
        (tmp_path / form).mkdir()
        for place, image in enumerate(test.test_images[:100]):
            change(Image.fromarray(image)).save(tmp_path / form / f"{place:03}.png")
        paths = [f"--ckpt_path={run}" for run in RUNS.values()]
        code, _, err = command("keras_parity", "predict", *paths, "--output=both.json", form)
        assert code == 0
        assert all("reaches the edge" in line for line in err.splitlines())  # as one of the 100 does
        records = json.loads((tmp_path / "both.json").read_text())
        for framework in ("keras", "pytorch"):
            right = [record[f"{framework}_digit"] == label for record, label in zip(records, labels, strict=True)]
            assert sum(right) >= 97, (form, framework)
