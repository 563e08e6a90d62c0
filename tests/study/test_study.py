"""``python -m keras_parity study``: what it trains, where it goes on, what it says of failures."""

import itertools
import os
import signal
import subprocess
import sys
import time

import pytest

from cnn_mnist.runs.folder import PYTORCH
from keras_parity.study import cli as study
from keras_parity.study import jobs
from tests.conftest import PROJECT

_MAKE = "import shutil; shutil.copytree({source!r}, {target!r})"


@pytest.fixture
def studied(command, make_run, monkeypatch, tmp_path):
    """Runs a study whose trainings are made-up runs; gives (exit code, out, err, the jobs trained in their order).

    A seed given as ``fails`` ends its training of PyTorch with an error.
    """
    trained, numbers = [], itertools.count(1000)

    def run(*arguments, fails=None):
        def made(job):
            seed, framework = job.model.seed, job.framework
            trained.append((seed, job.model.align, framework))
            if (seed, framework) == (fails, PYTORCH):
                return [sys.executable, "-c", "raise SystemExit('no such luck')"]
            number = next(numbers)
            settings = {"align": job.model.align}
            made = make_run(framework, number, epochs=job.trainer.max_epochs, settings=settings, seed=seed)
            folder = made.rename(tmp_path / f"made_{number}")
            target = tmp_path / job.trainer.log_dir / framework / f"version_{number}"
            return [sys.executable, "-c", _MAKE.format(source=str(folder), target=str(target))]

        monkeypatch.setattr(jobs.Job, "command", property(made))
        trained.clear()
        return *command("keras_parity", "study", "--trainer.max_epochs=2", *arguments), list(trained)

    return run


def test_each_seed_trains_both_frameworks_in_turns_and_ends_in_the_table(studied):
    code, out, err, trained = studied("--seeds=2")
    assert (code, err) == (0, "")
    assert trained == [(0, "keras", "pytorch"), (0, "keras", "keras"), (1, "keras", "keras"), (1, "keras", "pytorch")]
    assert "4 of 4 runs done" in out
    assert "n = 2" in out


def test_a_finished_run_is_never_trained_again(studied):
    studied("--seeds=2")
    _, first, _, trained = studied("--seeds=2")
    assert trained == []
    code, out, _, trained = studied("--seeds=3")
    assert code == 0
    assert {seed for seed, _, _ in trained} == {2}
    assert "n = 3" in out
    assert "n = 2" in first


def test_the_tables_stand_beside_the_runs_for_tensorboard(studied, tmp_path):
    studied("--seeds=1", "--trainer.log_dir=elsewhere")
    (page,) = (tmp_path / "elsewhere" / "compare").iterdir()
    assert b"difference (PyTorch - Keras)" in page.read_bytes()


def test_runs_of_other_settings_do_not_count(studied):
    studied("--seeds=1")
    *_, trained = studied("--seeds=1", "--align=keras,native")
    assert {align for _, align, _ in trained} == {"native"}
    *_, trained = studied("--seeds=1", "--trainer.max_epochs=3")
    assert len(trained) == 2


def test_a_failed_run_is_listed_with_its_reason_and_the_rest_goes_on(studied):
    code, out, err, trained = studied("--seeds=2", fails=0)
    assert code == 1
    assert len(trained) == 4
    assert "failed" in out
    assert "1 of 4 runs failed (PyTorch, keras, seed 0: no such luck)" in err
    code, _, err, trained = studied("--seeds=2")
    assert (code, err, trained) == (0, "", [(0, "keras", "pytorch")])


def test_an_interrupted_study_says_how_it_goes_on(studied, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(study._Study, "_run", interrupt)
    code, _, err, _ = studied("--seeds=1")
    assert code == 130
    assert err == "python -m keras_parity: interrupted; the same command goes on where it stopped\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds=0"], "expected 1 or more --seeds"),
        (["--align=pytorch"], "an --align of keras, native"),
        (["--model.architecture=four_conv"], "unknown architecture"),
        (["--trainer.log_dir=/proc/1/none"], "expected a folder for logs that can be written"),
        (["--epochs=1"], "epochs"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_trained(studied, arguments, message):
    code, _, err, trained = studied(*arguments)
    assert code in (1, 2)
    assert message in err
    assert err.count("\n") == 1
    assert trained == []


def test_the_commands_are_those_that_a_user_types():
    (job,) = [
        jobs.Job(
            PYTORCH, study.ModelSettings(seed=3), study.DataSettings(seed=3), study.TrainerSettings(log_dir="logs")
        )
    ]
    assert job.command[1:4] == ["-m", "cnn_mnist", "fit"]
    assert {"--seed_everything=3", "--trainer.logger.save_dir=logs", "--model.align=keras"} <= set(job.command)
    assert not [flag for flag in job.command if "None" in flag or "seed=" in flag]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel of Linux ends the child")
def test_a_killed_study_takes_its_training_with_it(tmp_path):
    code = (
        "import sys, time\nfrom keras_parity.study import cli as study, jobs\n"
        'sleep = f\'import os, time; print(os.getpid(), file=open("pid", "w"), flush=True); time.sleep(60)\'\n'
        "jobs.Job.command = property(lambda self: [sys.executable, '-c', sleep])\n"
        "study.main(['--seeds=1'])\n"
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
