"""``python -m keras_parity study``: what it trains, where it goes on, what it says of failures."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest

from cnn_mnist.runs import tags
from cnn_mnist.runs.files import lock_folder
from cnn_mnist.runs.folder import KERAS, PYTORCH
from cnn_mnist.settings import DataSettings, ModelSettings
from keras_parity.logs.folders import all_folders
from keras_parity.logs.run import read_run
from keras_parity.settings import TrainerSettings
from keras_parity.study import jobs
from tests.conftest import PROJECT
from tests.lives import Killed

_STUDY = """
import sys
from cnn_mnist.errors import one_line_errors
from keras_parity.study import cli as study, jobs, runner
runner.SECONDS_TO_STOP = 2
jobs.Job.command = property(lambda self: [sys.executable, "-c", {training!r}])
with one_line_errors("study"):
    study.main(["--seeds=1"])
"""


def test_each_seed_trains_both_frameworks_in_turns_and_ends_in_the_table(studied):
    code, out, err, trained = studied("--seeds=2")
    assert (code, err) == (0, "")
    assert trained == [(0, "keras", "pytorch"), (0, "keras", "keras"), (1, "keras", "keras"), (1, "keras", "pytorch")]
    lines = [re.sub(r"\d+ s$", "N s", line) for line in out.splitlines()[:4]]
    assert lines == [
        "[1/4] PyTorch, seed 0: test accuracy 0.9910, N s",
        "[2/4] Keras, seed 0: test accuracy 0.9910, N s",
        "[3/4] Keras, seed 1: test accuracy 0.9910, N s",
        "[4/4] PyTorch, seed 1: test accuracy 0.9910, N s",
    ]
    assert "n = 2" in out
    assert out.endswith(
        "\nnext: tensorboard --logdir lightning_logs\n"
        "      python -m keras_parity study --trainer.max_epochs=2 --seeds=4  # trains 2 more seeds\n"
    )


def test_two_seeds_print_a_table_at_80_columns(studied, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, *_ = studied("--seeds=2")
    table = out.partition("results\n")[2].partition("\n\n")[0].splitlines()
    assert table[0].split()[0] == "difference"
    assert max(map(len, table)) <= 80
    assert "verdict:" not in out  # no block of lines for each row


def test_a_finished_run_is_never_trained_again(studied):
    studied("--seeds=2")
    _, first, _, trained = studied("--seeds=2")
    assert trained == []
    code, out, _, trained = studied("--seeds=3")
    assert code == 0
    assert {seed for seed, _, _ in trained} == {2}
    assert "[4/6] PyTorch, seed 1: test accuracy 0.9910, trained before\n" in out
    assert "n = 3" in out
    assert "n = 2" in first


def test_the_tables_stand_beside_the_runs_for_tensorboard(studied, tmp_path):
    studied("--seeds=1", "--trainer.log_dir=elsewhere")
    (page,) = (tmp_path / "elsewhere" / "compare").glob("*.compare")
    assert b"| verdict | difference (1 pair) |" in page.read_bytes()


def test_a_study_until_decided_stops_there_says_so_and_marks_the_runs_that_it_looked_at(studied, tmp_path):
    code, out, err, trained = studied("--until=decided", "--max_seeds=9")
    assert (code, err) == (0, "")
    assert {seed for seed, *_ in trained} == set(range(5))  # equal runs: the first number with an interval
    assert "10 runs: decided after 5 pairs; a study of fixed size needs about 3 pairs for 80% power\n" in out
    assert "valid at every look" in out
    configs = list(tmp_path.glob("lightning_logs/*/*/config.yaml"))
    assert [path.read_text().count("study: until=decided\n") for path in configs] == [1] * 10
    *_, trained = studied("--until=decided", "--max_seeds=9")
    assert trained == []
    assert [path.read_text().count("study: until=decided\n") for path in configs] == [1] * 10


def test_a_study_that_is_not_decided_ends_after_its_most_seeds(studied):
    flags = "--until=decided", "--max_seeds=3"
    code, out, _, trained = studied(*flags, fails=lambda job: job.framework == KERAS)
    assert (code, len(trained)) == (1, 6)
    assert "3 runs: nothing compared\n" in out
    code, out, _, trained = studied(*flags)
    assert (code, len(trained)) == (0, 3)
    assert "6 runs: not decided after 3 pairs; " in out


@pytest.mark.parametrize(
    ("failing", "seeds", "said"),
    [
        ("PyTorch, native", 6, "12 runs: nothing compared"),
        ("Keras", 5, "10 runs: decided after 5 pairs"),
    ],
)
def test_a_study_of_both_alignments_goes_on_while_nothing_is_compared(studied, failing, seeds, said):
    flags = "--align=keras,native", "--until=decided", "--max_seeds=6"
    code, out, _, trained = studied(*flags, fails=lambda job: str(job).startswith(failing))
    assert code == 1
    assert {seed for seed, *_ in trained} == set(range(seeds))
    assert said in out


def test_a_study_of_both_alignments_trains_keras_once_because_it_computes_the_same_with_both(studied):
    *_, trained = studied("--seeds=2", "--align=keras,native")
    each = ("keras", "keras"), ("keras", "pytorch"), ("native", "pytorch")
    assert sorted(trained) == [(seed, *kind) for seed in (0, 1) for kind in each]


def test_a_run_that_cannot_be_marked_ends_the_study_in_one_line(studied, make_run, monkeypatch, tmp_path):
    usual = type(tmp_path).open

    def read_only(self, mode="r", *arguments, **more):
        if (self.name, mode) == ("config.yaml", "a"):
            raise PermissionError(13, "Permission denied", str(self))
        return usual(self, mode, *arguments, **more)

    make_run("keras", epochs=2)
    monkeypatch.setattr(type(tmp_path), "open", read_only)
    code, _, err, trained = studied("--until=decided", "--max_seeds=1")
    assert (code, len(trained)) == (1, 1)
    assert err.count("\n") == 1
    assert "lightning_logs/pytorch/version_1000/config.yaml (Permission denied)" in err


def test_runs_of_other_settings_do_not_count(studied):
    studied("--seeds=1")
    *_, trained = studied("--seeds=1", "--align=keras,native")
    assert trained == [(0, "native", "pytorch")]
    *_, trained = studied("--seeds=1", "--trainer.max_epochs=3")
    assert len(trained) == 2


def test_a_study_of_both_alignments_ends_in_their_comparison(studied):
    code, out, err, _ = studied("--seeds=1", "--align=keras,native")
    assert (code, err) == (0, "")
    assert "align=keras" in out
    assert "align=native minus align=keras" in out
    assert "PyTorch minus Keras" not in out


def test_a_study_trains_a_network_of_your_own(studied, tmp_path):
    (tmp_path / "net.yaml").write_text("[Flatten, {Dense: 10}]")
    code, out, err, trained = studied("--seeds=2", "--model.architecture=net.yaml")
    assert (code, err, len(trained)) == (0, "", 4)
    assert "n = 2" in out
    *_, trained = studied("--seeds=2", "--model.architecture=net.yaml")
    assert trained == []


def test_a_study_reads_a_finished_run_once(studied, monkeypatch):
    read = Counter()
    own = jobs.read_run
    monkeypatch.setattr(jobs, "read_run", lambda folder: read.update([folder]) or own(folder))
    studied("--seeds=6")
    assert len(read) == 12
    assert set(read.values()) == {1}


def test_a_failed_run_is_listed_with_its_reason_and_the_rest_goes_on(studied):
    code, out, err, trained = studied("--seeds=2", fails=lambda job: str(job) == "PyTorch, seed 0")
    assert code == 1
    assert len(trained) == 4
    assert out.startswith("[1/4] PyTorch, seed 0: failed: no such luck\n")
    assert "1 of 4 runs failed (PyTorch, seed 0: no such luck)" in err
    code, _, err, trained = studied("--seeds=2")
    assert (code, err, trained) == (0, "", [(0, "keras", "pytorch")])


def test_damaged_folders_stop_no_study_and_their_runs_are_trained_anew(studied, make_run):
    (make_run("keras", epochs=2) / "mistakes.csv").touch()
    for version, content in enumerate((b"", bytes(4096), b"no events"), start=1):
        (path,) = make_run("keras", version, epochs=2, seed=1).glob("*tfevents*")
        path.write_bytes(content)
    code, out, err, trained = studied("--seeds=2")
    assert (code, err) == (0, "")
    assert sorted(trained) == [(0, "keras", "pytorch"), (1, "keras", "keras"), (1, "keras", "pytorch")]
    assert out.count("the run is compared without its predictions") == 1


@pytest.mark.parametrize(
    ("training", "left"),
    [
        (
            "import time\ntry: time.sleep(60)\nexcept KeyboardInterrupt: time.sleep(0.7); open('closed', 'w')",
            ["closed"],
        ),
        ("import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)", []),
    ],
)
def test_an_interrupted_study_waits_for_its_training_and_says_how_it_goes_on(tmp_path, training, left):
    code = _STUDY.format(training=f"open('began', 'w')\n{training}") + "\n"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(PROJECT)}, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )  # fmt: skip
    _wait_until((tmp_path / "began").exists)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate()
    assert process.returncode == 130
    assert err == "study: interrupted; repeat the command to continue\n"
    assert [path.name for path in tmp_path.glob("closed")] == left


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds=0"], "--seeds: expected 1 or more, got 0"),
        (["--until=decided", "--seeds=5"], "--seeds: expected --max_seeds with --until=decided"),
        (["--max_seeds=5"], "--max_seeds: expected --seeds without --until=decided"),
        (["--until=decided", "--max_seeds=0"], "--max_seeds: expected 1 or more, got 0"),
        (["--align=pytorch"], "keras,native"),
        (["--model.architecture=four_conv"], "unknown architecture"),
        (["--trainer.log_dir=/proc/1/none"], "expected a folder for logs that can be written"),
        (["--epochs=1"], "epochs"),
        (
            ["--frameworks=keras,jax"],
            "--frameworks: expected some of keras, keras_jax, keras_torch, pytorch, each once",
        ),
        (["--frameworks=keras,pytorch,keras"], "each once, got keras,pytorch,keras"),
        (["--frameworks="], "--frameworks: expected some of keras"),
        (
            ["--frameworks=keras,keras_torch", "--align=keras,native"],
            "--frameworks: expected pytorch too with --align=keras,native",
        ),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_trained(studied, arguments, message):
    code, _, err, trained = studied(*arguments)
    assert code in (1, 2)
    assert message in err
    assert err.count("\n") == 1
    assert trained == []


def test_the_commands_are_those_that_a_user_types():
    job = jobs.Job(PYTORCH, ModelSettings(seed=3), DataSettings(seed=3), TrainerSettings(log_dir="logs"))
    assert job.command[1:4] == ["-m", "cnn_mnist", "fit"]
    assert {"--seed_everything=3", "--trainer.logger.save_dir=logs", "--model.align=keras"} <= set(job.command)
    assert not [flag for flag in job.command if "None" in flag or "seed=" in flag]


@pytest.mark.parametrize("framework", [KERAS, PYTORCH])
def test_a_real_run_of_either_trainer_is_known_as_done(command, use_tiny_mnist, framework):
    model = ModelSettings(architecture="conv5x5", optimizer="adam", seed=3)
    data = DataSettings(batch_size=16, val_size=50, seed=3)
    trainer = TrainerSettings(max_epochs=1, accelerator="cpu", limit_train_batches=2, enable_checkpointing=False)
    job = jobs.Job(framework, model, data, trainer)
    package, *arguments = job.command[2:]
    code, _, err = command(package, *arguments)
    assert code == 0, err
    (folder,) = all_folders()
    run = read_run(folder)
    assert job.is_trained_by(run)
    assert not (folder / "checkpoints").exists()
    others = [
        replace(job, framework=({KERAS, PYTORCH} - {framework}).pop()),
        replace(job, model=replace(model, seed=4)),
        replace(job, model=replace(model, optimizer="sgd")),
        replace(job, data=replace(data, batch_size=32)),
        replace(job, trainer=replace(trainer, max_epochs=2)),
        replace(job, trainer=replace(trainer, limit_train_batches=3)),
    ]
    assert not [other for other in others if other.is_trained_by(run)]
    assert not job.is_trained_by(replace(run, finished=False))


@pytest.mark.parametrize("framework", [KERAS, PYTORCH])
def test_a_run_that_was_cut_off_is_resumed_and_one_that_still_trains_is_left_alone(
    command, use_tiny_mnist, monkeypatch, framework
):
    trainer = TrainerSettings(max_epochs=2, accelerator="cpu", enable_model_summary=False)
    job = jobs.Job(framework, ModelSettings(), DataSettings(), trainer)
    package, *arguments = job.command[2:]
    assert jobs.KnownRuns(job.trainer.log_dir).interrupted(job) is None
    with monkeypatch.context() as patch:
        own = tags.with_curves

        def die(values):
            if "train/loss" in values:
                raise Killed
            return own(values)

        patch.setattr(tags, "with_curves", die)
        with pytest.raises(Killed):
            command(package, *arguments)
    cut = jobs.KnownRuns(job.trainer.log_dir).interrupted(job)
    assert cut is not None
    assert cut.folder.name == "version_0"
    with lock_folder(cut.folder):
        assert jobs.KnownRuns(job.trainer.log_dir).interrupted(job) is None
        code, _, err = command(package, *job.resume(cut)[3:])
        assert (code, err.count("\n")) == (1, 1)
        assert "in which another training or study runs" in err
    assert command(package, *job.resume(cut)[3:])[0] == 0
    (folder,) = all_folders()
    assert job.is_trained_by(read_run(folder))


def test_a_second_study_in_a_folder_says_that_one_is_at_work(studied, tmp_path):
    (tmp_path / "lightning_logs").mkdir()
    with lock_folder(tmp_path / "lightning_logs"):
        code, _, err, trained = studied("--seeds=1")
    assert (code, trained, err.count("\n")) == (1, [], 1)
    assert "got lightning_logs, in which another training or study runs; wait for its end" in err


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux ends the child")
def test_a_killed_study_takes_its_training_with_it(tmp_path):
    code = _STUDY.format(
        training="import os, time; print(os.getpid(), file=open('pid', 'w'), flush=True); time.sleep(60)"
    )
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    pid = tmp_path / "pid"
    _wait_until(lambda: pid.exists() and pid.read_text().strip())
    child = int(pid.read_text())
    process.send_signal(signal.SIGKILL)
    process.wait()
    _wait_until(lambda: not _alive(child))


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_until(holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_run_that_was_seen_before_its_first_figure_is_found_when_it_is_finished(make_run, tmp_path):
    """Such a run looks like one of somebody else's."""
    folder = make_run(KERAS)
    (events,) = folder.glob("events.*")
    whole = events.read_bytes()
    job = jobs.Job(KERAS, ModelSettings(), DataSettings(), TrainerSettings(log_dir=str(tmp_path / "lightning_logs")))
    runs = jobs.KnownRuns(job.trainer.log_dir)
    events.write_bytes(whole[: whole.index(b"weights/parameters") - 40])
    assert runs.finished(job) is None
    events.write_bytes(whole)
    found = runs.finished(job)
    assert found
    assert found.folder == folder
