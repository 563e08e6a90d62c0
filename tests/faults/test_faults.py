"""Processes that are killed, stopped, crowded or out of space: nothing good is lost (``pytest -m faults``).

Real processes on the tiny set; what is killed when is drawn from a seed that the table names.
"""

import itertools
import os
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from keras_parity.logs.event_files import read_scalars
from tests.conftest import PROJECT
from tests.lives import check_same

pytestmark = pytest.mark.faults

KILLS = int(os.environ.get("FAULTS_KILLS", "4"))
"""Of each of the 8 runs of a trainer."""

WORDS = {"pytorch": ("cnn_mnist", "fit"), "keras": ("keras_parity",)}
FLAGS = (
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu"),
    *("--trainer.max_epochs=8", "--data.batch_size=50", "--data.val_size=50", "--trainer.log_every_n_steps=2"),
    "--checkpoint_every=2",
)
OPTIMIZERS = {
    "rmsprop": (),
    "sgd": ("--model.momentum=0.9", "--model.nesterov=true"),
    "adam": (),
    "adamw": ("--model.weight_decay=0.01",),
}
_MAIN = """
import sys
from importlib import import_module
import numpy as np
from cnn_mnist.data import mnist
with np.load(sys.argv.pop(1)) as file:
    tiny = mnist.Mnist(*(file[name] for name in file.files))
mnist.load_mnist = lambda *_: tiny
import_module(f"{sys.argv.pop(1)}.__main__").main()
"""


@pytest.fixture
def start(tmp_path, tiny_mnist):
    """Starts a training in a process of its own; the call gives the process."""
    np.savez(tmp_path / "tiny.npz", *tiny_mnist)
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "COLUMNS": "120"}

    def run(framework, *flags, **more):
        package, *arguments = WORDS[framework]
        command = [sys.executable, "-c", _MAIN, "tiny.npz", package, *arguments, *flags]
        kept = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=tmp_path, env=environment, **kept, **more)

    return run


def ended(process, code=0):
    err = process.communicate(timeout=300)[1]
    assert process.returncode == code, err
    assert "Traceback" not in err
    return err


def wait_for(process, folder, pattern):
    while process.poll() is None and not list(folder.glob(pattern)):
        time.sleep(0.01)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("framework", WORDS)
def test_sigkill_at_random_moments_then_resume(start, tmp_path, row, framework, optimizer, schedule):
    runs, seed = tmp_path / "lightning_logs" / framework, f"{framework} {optimizer} {schedule}"
    moments, killed = random.Random(seed), 0
    flags = (*FLAGS, f"--model.optimizer={optimizer}", f"--model.schedule={schedule}", *OPTIMIZERS[optimizer])
    ended(start(framework, *flags))
    process = start(framework, *flags)
    while killed < KILLS:
        files = set((runs / "version_1/checkpoints").glob("*"))
        while process.poll() is None and set((runs / "version_1/checkpoints").glob("*")) == files:
            time.sleep(0.001)
        time.sleep(moments.random() * 0.15)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
        process = start(framework, f"--resume={runs / 'version_1'}")
        if (runs / "version_1/results.yaml").exists():
            break
    ended(process)
    check_same(runs / "version_0", runs / "version_1")
    row(f"{killed} SIGKILLs of {seed}", "resumed: weights, optimizer, points, predictions bitwise the same")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("framework", WORDS)
def test_a_signal_at_random_moments_then_resume(start, tmp_path, row, framework, number, code):
    runs, moments = tmp_path / "lightning_logs" / framework, random.Random(number)
    ended(start(framework, *FLAGS))
    process = start(framework, *FLAGS)
    stopped, checkpoints = 0, runs / "version_1/checkpoints"
    for _ in range(5):
        files = set(checkpoints.glob("*"))
        while process.poll() is None and set(checkpoints.glob("*")) == files:
            time.sleep(0.001)
        time.sleep(moments.random() * 0.1)
        process.send_signal(number)
        err = process.communicate()[1]
        if process.returncode == 0:  # it had ended before
            break
        assert (process.returncode, "--resume=" in err.splitlines()[-1]) == (code, True), err
        stopped += 1
        assert not read_scalars(runs / "version_1").notes
        process = start(framework, f"--resume={runs / 'version_1'}")
    ended(process)
    check_same(runs / "version_0", runs / "version_1")
    row(f"{stopped} times {signal.Signals(number).name} to {framework}", f"exit code {code}, resumed to the bit")


@pytest.mark.parametrize("framework", WORDS)
def test_trainings_that_start_together(start, tmp_path, row, framework):
    processes = [start(framework, *FLAGS, "--trainer.max_epochs=1") for _ in range(8)]
    for process in processes:
        ended(process)
    runs = sorted((tmp_path / "lightning_logs" / framework).iterdir())
    assert len(runs) == 8
    logs = [[(tag, [p.step for p in points]) for tag, points in read_scalars(run).points.items()] for run in runs]
    assert all(log == logs[0] for log in logs)
    row(f"8 of {framework} at once", "8 versions, 8 whole logs")


@pytest.mark.parametrize("kilobytes", [0, 60, 300])
@pytest.mark.parametrize("framework", WORDS)
def test_a_file_that_finds_no_space(start, tmp_path, row, framework, kilobytes):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 1024, kilobytes * 1024))

    ended(start(framework, *FLAGS, "--trainer.max_epochs=1"))
    err = ended(start(framework, *FLAGS, preexec_fn=limit), code=1)
    assert err.count("\n") == 1
    run = tmp_path / "lightning_logs" / framework / "version_1"
    assert all(yaml.safe_load(file.read_text()) for file in run.glob("*.yaml"))
    assert not list(run.glob("checkpoints/*"))
    row(f"{framework}, files of {kilobytes} KB at most", f"one line: {err.strip()[:60]}...")


@pytest.mark.parametrize("framework", WORDS)
def test_a_log_folder_that_is_removed_meanwhile(start, tmp_path, row, framework):
    run = tmp_path / "lightning_logs" / framework / "version_0"
    process = start(framework, *FLAGS, "--trainer.max_epochs=400")
    wait_for(process, run, "checkpoints/*")
    run.rename(tmp_path / "gone")
    err = ended(process, code=1)
    assert err.count("\n") == 1
    row(f"{framework}, run folder removed", f"one line: {err.strip()[:60]}...")


def test_two_studies_at_once_and_one_that_is_killed(tmp_path, row):
    flags = ("--seeds=3", "--trainer.max_epochs=2", "--trainer.limit_train_batches=3", "--trainer.accelerator=cpu")
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-m", "keras_parity", "study", *flags]

    def study():
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=-1, stderr=-1, text=True)

    killed = 0
    for pause in itertools.chain((8.0,) * 5, itertools.repeat(None)):
        process = study()
        try:
            out, err = process.communicate(timeout=pause)
        except subprocess.TimeoutExpired:
            other = study()
            assert "in which another training or study runs" in other.communicate()[1]
            assert other.returncode == 1
            process.kill()
            process.communicate()
            killed += 1
            continue
        assert process.returncode == 0, err
        break
    assert "test accuracy" in out
    row(f"a study, killed {killed} times, another beside it", "the other refused, every job trained once")
