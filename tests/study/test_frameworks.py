"""``python -m keras_parity study --frameworks``: studies of more frameworks than two."""

import pytest

from cnn_mnist.runs.folder import FRAMEWORKS, KERAS, KERAS_JAX, KERAS_TORCH, PYTORCH
from cnn_mnist.settings import DataSettings, ModelSettings
from keras_parity import frameworks
from keras_parity.frameworks import RUN_NAMES
from keras_parity.logs.folders import all_folders
from keras_parity.logs.run import read_run
from keras_parity.settings import TrainerSettings
from keras_parity.study import jobs

_ALL = f"--frameworks={','.join(FRAMEWORKS)}"


@pytest.fixture(autouse=True)
def with_every_package(monkeypatch):
    monkeypatch.setattr(frameworks, "find_spec", lambda package: package)


def test_the_frameworks_take_turns_and_each_goes_first_equally_often(studied):
    code, out, err, trained = studied(_ALL, "--seeds=4")
    assert (code, err) == (0, "")
    turns = [[framework for at, _, framework in trained if at == seed] for seed in range(4)]
    assert all(sorted(turn) == sorted(FRAMEWORKS) for turn in turns)
    assert sorted(turn[0] for turn in turns) == sorted(FRAMEWORKS)
    assert "[1/16] Keras on JAX, seed 0: test accuracy 0.9910, " in out
    assert out.endswith(f"study --trainer.max_epochs=2 {_ALL} --seeds=8  # trains 4 more seeds\n")


def test_one_framework_can_be_studied_alone(studied):
    code, _, err, trained = studied("--frameworks=keras_torch", "--seeds=2")
    assert (code, err, [framework for *_, framework in trained]) == (0, "", [KERAS_TORCH] * 2)


def test_a_finished_run_on_another_backend_is_never_trained_again(studied):
    studied("--frameworks=keras_jax,keras_torch", "--seeds=2")
    *_, trained = studied(_ALL, "--seeds=2")
    assert sorted(trained) == [(seed, "keras", framework) for seed in (0, 1) for framework in (KERAS, PYTORCH)]


def test_only_pytorch_is_trained_with_both_alignments(studied):
    *_, trained = studied(_ALL, "--seeds=1", "--align=keras,native")
    assert sorted(trained) == [
        *((0, "keras", framework) for framework in FRAMEWORKS),
        (0, "native", PYTORCH),
    ]


def test_a_study_until_decided_waits_for_every_comparison_and_names_each(studied):
    unsteady = lambda job: {"test/acc": 0.95 + 0.04 * (job.model.seed % 2)} if job.framework == KERAS_JAX else {}  # noqa: E731
    flags = "--frameworks=keras,keras_jax,pytorch", "--until=decided"
    _, out, _, trained = studied(*flags, "--max_seeds=8", values=unsteady)
    assert len(trained) == 24
    (line,) = (line for line in out.splitlines() if line.startswith("24 runs: "))
    jax, pytorch = line.removeprefix("24 runs: ").split("; Py")
    assert jax.startswith("Keras on JAX: not decided after 8 pairs; a study of fixed size needs ")
    assert pytorch.startswith("Torch: decided after 8 pairs; ")


def test_a_framework_whose_package_is_missing_is_refused_before_anything_is_trained(studied, monkeypatch, tmp_path):
    monkeypatch.setattr(frameworks, "find_spec", lambda package: None if package == "jax" else package)
    code, _, err, trained = studied(_ALL, "--seeds=1")
    assert (code, trained) == (1, [])
    assert err.endswith("--frameworks=keras_jax: expected the package jax, found none; pip install jax\n")
    assert not (tmp_path / "lightning_logs").exists()


def test_a_study_on_a_cluster_without_ray_names_the_extra(studied, monkeypatch, tmp_path):
    monkeypatch.setattr(frameworks, "find_spec", lambda package: None if package == "ray" else package)
    code, _, err, trained = studied("--cluster=local")
    assert (code, trained, err.count("\n")) == (1, [], 1)
    assert err.endswith("--cluster=local: expected the package ray, found none; pip install '.[cluster]'\n")


@pytest.mark.parametrize(("backend", "framework"), RUN_NAMES.items())
def test_the_command_of_a_keras_job_names_its_backend(framework, backend, make_run):
    job = jobs.Job(framework, ModelSettings(), DataSettings(), TrainerSettings(log_dir="logs"))
    start = ["-m", "keras_parity", f"--backend={backend}"]
    assert job.command[1:4] == start
    assert "--trainer.log_dir=logs" in job.command
    run = read_run(make_run(framework))
    assert job.resume(run)[1:5] == [*start, f"--resume={run.folder}"]


@pytest.mark.slow
def test_a_real_study_of_four_frameworks_ends_in_their_table_and_pictures(command, monkeypatch, tiny_file, tmp_path):
    monkeypatch.undo()
    pytest.importorskip("jax")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    flags = (
        *(_ALL, "--seeds=2", "--trainer.max_epochs=1", "--trainer.accelerator=cpu"),
        *(f"--data.file={tiny_file}", "--data.batch_size=25"),
    )
    code, out, err = command("keras_parity", "study", *flags)
    assert (code, err) == (0, "")
    runs = [read_run(folder) for folder in all_folders()]
    assert sorted((run.framework, run.seed) for run in runs) == [
        (name, seed) for name in sorted(FRAMEWORKS) for seed in (0, 1)
    ]
    assert all(run.finished and run.settings == runs[0].settings for run in runs)
    titles = [f"{other} minus Keras" for other in ("Keras on JAX", "Keras on PyTorch", "PyTorch")]
    assert [line for line in out.splitlines() if line in titles] == titles
    assert max(map(len, out.partition(titles[0])[2].partition("\ndifference: ")[0].splitlines())) <= 80
    assert (tmp_path / "lightning_logs/disagreements.png").exists()
    first = [run.last("train/loss") for run in runs if run.seed == 0]
    assert first == pytest.approx([first[0]] * 4, rel=1e-3)
    again = command("keras_parity", "study", *flags)[1]
    assert again.count("trained before") == 8
