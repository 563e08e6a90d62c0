"""What ``python -m keras_parity compare`` makes of the runs of four frameworks, on made-up runs."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from cnn_mnist.data import mnist
from cnn_mnist.runs.folder import FRAMEWORKS, KERAS, KERAS_JAX, KERAS_TORCH, PYTORCH
from cnn_mnist.runs.mistakes import write_mistakes
from keras_parity.compare.sides import TITLES
from tests.conftest import MACHINE
from tests.logs import foreign

_OTHERS = [title for framework, title in TITLES.items() if framework != KERAS]


@pytest.fixture
def compare(command):
    return lambda *arguments: command("keras_parity", "compare", *arguments)


@pytest.fixture
def make_four(make_run):
    """Makes three runs of each framework; each is better than the one before by 0.001."""

    def make(first=0, **about):
        for seed in range(3):
            for ahead, framework in enumerate(FRAMEWORKS):
                values = {"test/acc": 0.99 + (seed + ahead) / 1000}
                make_run(framework, first + seed, seed=seed, **about, **values)

    return make


def test_each_framework_is_a_column_compared_with_the_first_and_two_are_published(compare, make_four):
    make_four()
    code, out, err = compare("lightning_logs", "--format=json")
    assert (code, err) == (0, "")
    (table,) = json.loads(out)["tables"]
    titles = [column["title"] for column in table["columns"]]
    assert titles == ["Keras", "Keras on JAX", "Keras on PyTorch", "PyTorch", "published Keras", "published PyTorch"]
    verdicts = [table["verdicts"], *table["verdicts of others"].values()]
    assert list(table["verdicts of others"]) == _OTHERS[1:]
    assert [of["test/acc"]["difference"]["mean"] for of in verdicts] == pytest.approx([0.001, 0.002, 0.003], abs=1e-6)
    assert all(of["test/acc"]["level"] == pytest.approx(1 - 0.05 / 3) for of in verdicts)


def test_without_keras_the_others_are_compared_with_keras_on_jax(compare, make_run):
    for framework in (KERAS_JAX, PYTORCH):
        make_run(framework)
    _, out, _ = compare("--format=markdown")
    assert "difference: PyTorch minus Keras on JAX, " in out
    assert "no Keras run among these: python -m keras_parity trains one" in out


def test_a_backend_that_nobody_trained_is_not_missed(compare, make_run):
    make_run(KERAS)
    make_run(PYTORCH)
    assert " run among these" not in compare()[1]


def test_without_arguments_the_newest_pair_may_be_of_any_two_frameworks(compare, make_run):
    for framework, align in ((KERAS, "native"), (KERAS_TORCH, "keras"), (KERAS_JAX, "keras")):
        make_run(framework, settings={"align": align})
    _, out, _ = compare("--format=json")
    pair = [run for column in json.loads(out)["tables"][0]["columns"] for run in column["runs"]]
    assert pair == ["lightning_logs/keras_jax/version_0", "lightning_logs/keras_torch/version_0"]


def test_four_frameworks_print_a_table_for_each_comparison_at_80_columns(compare, make_four, make_run, monkeypatch):
    make_four()
    make_run(KERAS_JAX, 9, seed=9, finished=False)
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = compare("lightning_logs")
    lines = out.partition("\n* ")[0].splitlines()
    parts = [*(f"{title} minus Keras" for title in _OTHERS), "unfinished", "published"]
    assert [line for line in lines if line in parts] == parts
    assert max(map(len, lines)) <= 80
    assert "verdict:" not in out


def test_four_frameworks_print_one_table_where_there_is_room(compare, make_four, monkeypatch):
    make_four()
    monkeypatch.setenv("COLUMNS", "400")
    head = compare("lightning_logs")[1].splitlines()[:2]
    assert head[0] == "results"
    assert all(f"{title}: verdict" in head[1] for title in _OTHERS)


def test_at_80_columns_each_comparison_of_an_experiment_has_its_title(compare, make_four, monkeypatch):
    make_four()
    make_four(3, settings={"align": "native"})
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = compare("lightning_logs")
    assert all(f"\nexperiment 2: align=native, {title} minus Keras\n" in out for title in _OTHERS)


@pytest.mark.parametrize(
    ("on_gpu", "said", "remedies"),
    [
        ((PYTORCH,), "PyTorch ran on a GPU (H200) and Keras and Keras on JAX and Keras on PyTorch on a CPU", 3),
        (
            (KERAS_JAX, PYTORCH),
            "Keras on JAX and PyTorch ran on a GPU (H200) and Keras and Keras on PyTorch on a CPU",
            2,
        ),
        ((KERAS, KERAS_TORCH, PYTORCH), "PyTorch ran on a GPU (H200) and Keras on JAX on a CPU", 1),
    ],
)
def test_each_framework_without_the_gpu_of_the_others_is_told_how_to_get_it(compare, make_run, on_gpu, said, remedies):
    for framework in FRAMEWORKS:
        make_run(framework, environment=MACHINE | ({"device": "H200"} if framework in on_gpu else {}))
    first = compare("lightning_logs", "--format=csv", "--rows=verdicts")[1].splitlines()[0]
    assert said in first
    assert first.count("use the GPU") == remedies
    assert ("pip install 'jax[cuda12]' lets Keras on JAX use the GPU" in first) == (KERAS_JAX not in on_gpu)


def test_logs_of_other_code_are_of_the_framework_that_is_typed(compare, make_run, tmp_path):
    make_run(KERAS).rename(tmp_path / "mine")
    code, out, err = compare("mine", "--framework=mine:keras_jax", "--format=json")
    assert (code, err) == (0, "")
    assert json.loads(out)["tables"][0]["columns"][0]["title"] == "Keras on JAX"
    code, _, err = compare("mine", "--framework=mine:jax")
    assert (code, err.count("\n")) == (1, 1)
    assert "expected PATTERN:FRAMEWORK with one of keras, keras_jax, keras_torch, pytorch, such as" in err


def _titles(out):
    return {column["title"]: column["runs"] for column in json.loads(out)["tables"][0]["columns"]}


@pytest.mark.parametrize(
    ("keras", "torch"),
    [
        ("log/keras/s0.csv", "log/pytorch/s0.csv"),
        ("log/keras_s0.csv", "log/torch_s0.csv"),
        ("log/seed0/keras", "log/seed0/pytorch"),
        ("log/KERAS/seed0", "log/PyTorch/seed0"),
        ("log/my_keras_model/lr0.1/seed0", "log/my-torch-model/lr0.1/seed0"),
        ("log/TensorFlow/seed0", "log/torch/seed0"),
        ("log/keras_vs_torch/keras/seed0", "log/keras_vs_torch/torch/seed0"),
    ],
)
def test_a_framework_that_the_path_below_the_folder_names_is_taken_silently(compare, tmp_path, keras, torch):
    for path in (keras, torch):
        place = tmp_path / path
        if place.suffix == ".csv":
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("epoch,loss,val_loss\n0,0.5,0.6\n1,0.4,0.5\n")
        else:
            foreign.write(place, {"test_acc": [(1, 0.5)]})
    code, out, err = compare("log", "--format=json")
    assert (code, err) == (0, "")
    assert _titles(out) == {"Keras": [keras], "PyTorch": [torch]}
    assert "--framework" not in out
    assert _titles(compare(keras.replace("seed0", "*"), torch.replace("seed0", "*"), "--format=json")[1]).keys() == {
        "Keras", "PyTorch",
    }  # fmt: skip


def test_runs_whose_framework_the_path_does_not_tell_are_named_in_one_note_for_each_basis(compare, tmp_path):
    for name in ("exp0", "keras_vs_torch"):
        foreign.write(tmp_path / "log" / name, {"test_acc": [(1, 0.5)]})
    foreign.write(tmp_path / "log/exp1", {"test_acc": [(1, 0.5)]}, writer="")
    (tmp_path / "log/a.csv").write_text("epoch,val_f1\n0,0.5\n")
    notes = json.loads(compare("log", "--format=json")[1])["notes"]
    assert [note for note in notes if "framework not named" in note] == [
        f"{where}: framework not named in the path; taken as pytorch from {basis}; "
        "--framework=PATTERN:FRAMEWORK overrules"
        for where, basis in (
            ("log/a.csv", "its columns"),
            ("log/exp0, log/keras_vs_torch", "the library that wrote the log"),
            ("log/exp1", "the encoding of its values"),
        )
    ]
    assert "framework not named" not in compare("log", "--framework=log/*:keras")[1]


def test_a_path_of_two_frameworks_is_of_the_nearest_and_says_both(compare, tmp_path):
    foreign.write(tmp_path / "log/pytorch/my_keras_port/seed0", {"test_acc": [(1, 0.5)]})
    out = compare("log", "--format=json")[1]
    assert list(_titles(out)) == ["Keras"]
    assert (
        "log/pytorch/my_keras_port/seed0: the path names keras and pytorch; taken as keras, the nearest; "
        "--framework=PATTERN:FRAMEWORK overrules"
    ) in json.loads(out)["notes"]


def test_names_above_the_folder_that_is_searched_say_nothing(compare, tmp_path, monkeypatch):
    foreign.write(tmp_path / "keras-vs-us/runs/exp0", {"test_acc": [(1, 0.5)]})
    monkeypatch.chdir(tmp_path / "keras-vs-us")
    for where in ("runs", ".", str(tmp_path / "keras-vs-us/runs"), "runs/*"):
        assert list(_titles(compare(where, "--format=json")[1])) == ["PyTorch"]


@pytest.mark.parametrize("form", ["markdown", "html", "csv"])
def test_every_format_holds_all_columns_and_comparisons(compare, make_four, form):
    make_four()
    lines = ["--rows=verdicts"] if form == "csv" else []
    code, out, err = compare("lightning_logs", f"--format={form}", *lines)
    assert code == 0, err
    out = out.replace("\N{NO-BREAK SPACE}", " ")
    assert all(f"{title}: verdict" in out for title in _OTHERS)
    assert all(f"{title} (n = 3)" in out for title in TITLES.values())
    assert all(f"difference: {title} minus Keras, relative" in out for title in _OTHERS)


def test_the_csv_file_names_the_framework_of_each_run(compare, make_four, tmp_path):
    make_four()
    compare("lightning_logs", "--output=runs.csv")
    lines = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert [line["framework"] for line in lines] == [framework for framework in FRAMEWORKS for _ in range(3)]


def test_curves_and_bands_are_drawn_of_all_frameworks(compare, make_four, tmp_path):
    make_four()
    assert compare("lightning_logs", "--figure=slide.svg", "--table=false")[0] == 0
    slide = (tmp_path / "slide.svg").read_text()
    assert all(f"<!-- {title}, train -->" in slide for title in TITLES.values())
    bands = {path.name for path in (tmp_path / "lightning_logs/compare").iterdir() if path.is_dir()}
    assert bands == set(TITLES.values())


def test_demands_name_the_comparison_that_fails(compare, make_four):
    make_four()
    code, _, err = compare("lightning_logs", "--max_difference=test/acc=0.0025")
    assert code == 1
    assert err.endswith("not met: PyTorch: test/acc differs by +0.003, allowed 0.0025\n")


def test_disagreements_are_drawn_for_each_comparison_with_the_first(
    compare, make_four, tiny_mnist, monkeypatch, tmp_path
):
    labels, heights = tiny_mnist.test_labels, {}
    monkeypatch.setattr(mnist, "load_mnist", lambda *_: tiny_mnist)
    make_four()
    for path in (tmp_path / "lightning_logs").glob("*/version_*"):
        wrong = np.where(np.arange(len(labels)) < 5, (labels + 1) % 10, labels)
        write_mistakes(path, labels, labels if path.parent.name == KERAS else wrong)
    for which in (PYTORCH, "*"):
        runs = ("lightning_logs/keras/*", f"lightning_logs/{which}/version_*")
        assert compare(*runs, "--disagreements=digits.png")[0] == 0
        with Image.open(tmp_path / "digits.png") as picture:
            heights[which] = picture.height
    assert heights["*"] == 3 * heights[PYTORCH]
