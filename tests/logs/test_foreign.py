"""Logs that this project did not write, or that were damaged: each is shown, or said, beside a run of ours."""

import json
import re

import numpy as np
import pytest
import yaml

from keras_parity import find_folders, read_run
from tests.logs import foreign


@pytest.fixture
def compared(command, tmp_path, monkeypatch):
    """Runs ``compare`` beside a run of ours; gives the cells of the columns by folder, and the notes."""
    monkeypatch.setenv("HOME", str(tmp_path))

    def run(*arguments):
        code, out, err = command("keras_parity", "compare", *arguments, "--format=json")
        assert (code, err) == (0, "")
        content = json.loads(out)
        columns = [column for table in content["tables"] for column in table["columns"] if column["runs"]]
        cells = {run: column["cells"] for column in columns for run in column["runs"]}
        return {run: {row: cell["mean"] for row, cell in kept.items()} for run, kept in cells.items()}, content["notes"]

    return run


@pytest.mark.parametrize("name", foreign.CASES)
def test_a_log_shows_what_it_holds_and_says_the_rest_beside_a_run_of_ours(compared, make_run, tmp_path, name):
    make, arguments, figures, expected = foreign.CASES[name]
    make(tmp_path / "log")
    ours = str(make_run("keras").relative_to(tmp_path))
    shown, notes = compared(ours, *arguments)
    assert shown.pop(ours)["test/acc"] == pytest.approx(0.991)
    assert list(shown.values()) == ([] if figures is None else [pytest.approx(figures)])
    about = [note for note in notes if "log" in note.split(" ")[0] and ours not in note]
    said = [note for note in about if "framework not named in the path; taken as " in note]
    assert len(said) == (figures is not None)
    about = [note for note in about if note not in said]
    assert [note.split(": ", 1)[-1] for note in about] == expected


def test_a_file_that_cannot_be_read_is_one_note(compared, make_run, tmp_path, monkeypatch):
    path = foreign.write(tmp_path / "log", {})
    ours, usual = make_run("keras"), type(path).open

    def refuse(self, *arguments, **more):
        if self.name == path.name:
            raise PermissionError(13, "Permission denied")
        return usual(self, *arguments, **more)

    monkeypatch.setattr(type(path), "open", refuse)
    shown, notes = compared("log", ours)
    assert list(shown) == [str(ours)]
    assert f"log/{path.name} cannot be read (Permission denied)" in notes


def test_of_several_logs_the_damaged_one_is_said_and_what_holds_for_all_is_said_once(compared, tmp_path):
    for run in range(8):
        foreign.write(tmp_path / f"log/run_{run}", {"train_loss": [(1, 0.5)]})
    foreign.broken(b"")(tmp_path / "log/bad")
    shown, notes = compared("log")
    assert len(shown) == 8
    assert "log/bad/events.out.tfevents.1.host is empty" in notes
    assert f"{', '.join(f'log/run_{run}' for run in range(6))} and 2 more: {foreign.UNKNOWN}" in notes


def test_a_config_of_somebody_else_is_shown_as_it_is(tmp_path):
    foreign.hydra(tmp_path)
    run = read_run(tmp_path)
    assert run.seed is None
    assert run.settings == {"model": "resnet50", "trainer": "ddp", "lr": "inf", "day": "2024-05-01"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"seed_everything": 3, "model": {"init": {"lr": 1}}}))
    run = read_run(tmp_path)
    assert (run.seed, run.settings) == (3, {"model.init.lr": 1})


def test_a_config_of_ours_that_somebody_edited_is_shown_as_it_is(make_run):
    folder = make_run("keras")
    (folder / "config.yaml").write_text("model: resnet50\ntrainer: ddp\n")
    assert read_run(folder).settings == {"model": "resnet50", "trainer": "ddp"}


def test_a_run_in_a_folder_called_test_is_the_run_that_it_was(make_run, tmp_path):
    before = read_run(make_run("keras"))
    after = read_run((tmp_path / "lightning_logs/keras/version_0").rename(tmp_path / "test"))
    assert after.finished
    assert after.points == before.points


def test_parts_of_a_run_whose_tags_are_alike_keep_both(tmp_path):
    for part, value in ("train", 0.5), ("validation", 0.25):
        foreign.write(tmp_path / part, {"metrics/loss": [(1, value)]})
    run = read_run(tmp_path)
    assert (run.last("train/metrics/loss"), run.last("val/metrics/loss")) == (0.5, 0.25)


def test_the_published_columns_stand_beside_the_published_experiment_alone(command, make_run, tmp_path):
    foreign.write(tmp_path / "log", {"test_acc": [(1, 0.5)]})
    assert "published" not in command("keras_parity", "compare", "log")[1]
    assert "published PyTorch" in command("keras_parity", "compare", "log", "--published")[1]
    make_run("keras", 0, epochs=2)
    make_run("keras", 1, settings={"optimizer": "adam"})
    assert "published" not in command("keras_parity", "compare", "lightning_logs")[1]
    make_run("keras", 2)
    assert command("keras_parity", "compare", "lightning_logs")[1].count("published Keras") == 1


def test_what_a_comparison_has_written_is_no_run(command, make_run, tmp_path):
    ours = make_run("keras")
    assert command("keras_parity", "compare")[0] == 0
    assert (tmp_path / "lightning_logs/compare").is_dir()
    assert find_folders([str(tmp_path)]) == [ours]


def test_a_glob_is_a_glob_where_nothing_is_called_so(tmp_path):
    for name in "a1", "a[1]":
        foreign.write(tmp_path / name, {"loss": [(1, 0.5)]})
    assert find_folders([f"{tmp_path}/a[1]"]) == [tmp_path / "a[1]"]
    assert find_folders([f"{tmp_path}/a[0-9]"]) == [tmp_path / "a1"]


def test_label_smoothing_is_not_taken_for_a_softmax_before_the_loss(command, make_run):
    made = {"train/loss": 1.5, "train/acc": 0.99}
    make_run("keras", settings={"label_smoothing": 0.45}, **made)
    assert "softmax before the loss, which" not in command("keras_parity", "compare")[1].replace("\n", " ")


_LARGE = """
import sys
from tests.logs.foreign import write_large
write_large(sys.argv[1], 300)
"""
_COMPARE = "import sys; from keras_parity.__main__ import main; sys.argv[1:] = ['compare', 'log']; main()"


@pytest.mark.slow
def test_a_log_of_300_mb_takes_at_most_500_mb_of_memory(run_python, tmp_path):
    assert run_python("-c", _LARGE, tmp_path / "log").returncode == 0
    # Not ru_maxrss: a started process inherits that of the tests' own.
    measured = f"{_COMPARE}; print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    answer = run_python("-c", measured)
    assert answer.returncode == 0, answer.stderr
    assert int(answer.stdout.split()[-1]) < 500_000  # KiB


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_writers_of_keras_and_lightning_write_such_logs(compared, tmp_path):
    import keras
    from lightning.pytorch.loggers import CSVLogger

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    data = np.random.default_rng(0).random((64, 4)), np.arange(64) % 2
    for name, frequency in ("by_epoch", "epoch"), ("by_batch", 5):
        callback = keras.callbacks.TensorBoard(str(tmp_path / name), update_freq=frequency)
        csv_log = keras.callbacks.CSVLogger(str(tmp_path / f"{name}.log"))
        history = model.fit(
            *data, batch_size=8, epochs=3, verbose=0, validation_data=data, callbacks=[callback, csv_log]
        ).history
        last = {"train/loss": history["loss"][-1], "train/acc": history["accuracy"][-1]}
        last |= {"val/loss": history["val_loss"][-1], "val/acc": history["val_accuracy"][-1]}
        assert compared(f"{name}.log")[0] == {f"{name}.log": pytest.approx(last)}
        shown, notes = compared(name)
        if frequency == "epoch":
            assert {row: shown[name][row] for row in last} == pytest.approx(last)
        else:
            assert shown[name].keys() == {"time/fit_seconds", "ms_per_step"}
            assert "--alias=train/loss=train/batch_loss" in " ".join(notes)
    logger = CSVLogger(tmp_path, "lightning")
    logger.log_metrics({"train_loss": 0.5, "epoch": 0}, 7)
    logger.log_metrics({"val_acc": 0.75, "epoch": 0}, 7)
    logger.save()
    assert list(compared("lightning")[0].values()) == [{"train/loss": 0.5, "val/acc": 0.75}]


@pytest.mark.parametrize("kind", ["csv", "events", "long"])
@pytest.mark.parametrize("form", ["rich", "markdown", "html", "json"])
def test_a_log_without_a_row_of_the_table_is_named_with_its_tags(command, tmp_path, kind, form):
    (tmp_path / "log").mkdir()
    if kind == "events":
        foreign.write(tmp_path / "log/run", {"my_metric": [(1, 0.5)]})
    else:
        columns = "step,metric,my_metric\n0,loss,0.5\n" if kind == "long" else "step,my_metric\n0,0.5\n1,0.6\n"
        (tmp_path / "log/m.csv").write_text(columns)
    code, out, err = command("keras_parity", "compare", "log", f"--format={form}")
    assert (code, err) == (0, "")
    said = out.replace("\n    ", " ").replace("\\", "")
    assert "read but not shown: my_metric; --alias=test/acc=NAME shows NAME as test/acc" in said


def test_the_framework_of_a_log_can_be_overruled(compared, command, tmp_path):
    for seed in range(2):
        foreign.write(tmp_path / f"log/a_{seed}", {"test_acc": [(1, 0.5)]}, writer="")
        foreign.write(tmp_path / f"log/b_{seed}", {"test_acc": [(1, 0.6)]}, writer="")
    _, out, _ = command("keras_parity", "compare", "log", "--framework=log/a_*:keras", "--format=json")
    columns = {column["title"]: column["runs"] for column in json.loads(out)["tables"][0]["columns"]}
    assert columns == {"Keras": ["log/a_0", "log/a_1"], "PyTorch": ["log/b_0", "log/b_1"]}
    _, _, err = command("keras_parity", "compare", "log", "--framework=nothing*:keras")
    assert "expected a pattern of these runs' folders, got nothing*, which none has" in err
    _, _, err = command("keras_parity", "compare", "log", "--framework=log*:jax")
    assert "expected PATTERN:FRAMEWORK with one of keras, keras_jax, keras_torch, pytorch" in err


def test_the_resolution_of_an_accuracy_is_of_the_images_that_it_may_be_of(compared, command, tmp_path):
    """Three runs of 200 test images: 0.97 three times is no proof of equality to 0.0001."""
    for name, writer in ("keras", foreign.KERAS_WRITER), ("torch", foreign.PYTORCH_WRITER):
        for seed in range(3):
            foreign.write(tmp_path / f"log/{name}_{seed}", {"test_acc": [(1, 0.97)]}, writer=writer)
    _, out, _ = command("keras_parity", "compare", "log", "--format=json")
    verdict = json.loads(out)["tables"][0]["verdicts"]["test/acc"]
    assert verdict["word"] == "undetermined"


def test_times_of_unknown_hardware_get_no_verdict(command, tmp_path):
    for name, writer in ("keras", foreign.KERAS_WRITER), ("torch", foreign.PYTORCH_WRITER):
        for seed in range(3):
            foreign.write(tmp_path / f"log/{name}_{seed}", foreign.by_epoch("train_loss", steps=9), writer=writer)
    _, out, _ = command("keras_parity", "compare", "log", "--format=json")
    assert json.loads(out)["tables"][0]["verdicts"]["time/fit_seconds"]["word"] == "unknown hardware"


@pytest.mark.parametrize("name", foreign.CASES)
def test_a_hint_followed_shows_the_row_that_it_promises(command, tmp_path, name):
    foreign.CASES[name][0](tmp_path / "log")
    code, out, _ = command("keras_parity", "compare", "log", "--format=json")
    for hint in re.findall(r"--alias=(\S+?)=(\S+)(?= )", " ".join(json.loads(out)["notes"]) if not code else ""):
        if hint[1] == "NAME":
            continue
        _, out, _ = command("keras_parity", "compare", "log", f"--alias={hint[0]}={hint[1]}", "--format=json")
        assert hint[0] in json.loads(out)["tables"][0]["columns"][0]["cells"]
