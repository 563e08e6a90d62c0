"""How a study runs its trainings: in forks of a process that has their framework imported."""

import sys
from contextlib import closing

import pytest

from cnn_mnist.runs.folder import KERAS_JAX, PYTORCH
from keras_parity.frameworks import RUN_NAMES
from keras_parity.logs.run import read_run
from keras_parity.study.runner import Runner

_FIT = (
    *("cnn_mnist", "fit", "--config=speedrun", "--trainer.limit_test_batches=1", "--trainer.logger.save_dir=LOGS"),
    *("--trainer.max_steps=3", "--trainer.enable_progress_bar=false"),
)
_TWIN = (
    *("keras_parity", "--trainer.log_dir=LOGS", "--trainer.max_epochs=1", "--trainer.limit_train_batches=3"),
    "--trainer.enable_progress_bar=false",
)


@pytest.fixture
def runner():
    with closing(Runner()) as runner:
        yield runner


def _twin(backend):
    return pytest.param(RUN_NAMES[backend], (*_TWIN, f"--backend={backend}"), marks=pytest.mark.slow)


@pytest.mark.parametrize(("framework", "arguments"), [(PYTORCH, _FIT), *map(_twin, RUN_NAMES)])
def test_a_forked_training_is_bitwise_the_command_and_its_set_up_counts_the_import(
    runner, run_python, framework, arguments, tiny_file, tmp_path
):
    if framework == KERAS_JAX:
        pytest.importorskip("jax")
    package, *flags = (*arguments, f"--data.file={tiny_file}")
    run_python("-m", package, *(flag.replace("LOGS", str(tmp_path / "command")) for flag in flags))
    forked = [flag.replace("LOGS", str(tmp_path / "forked")) for flag in flags]
    for _ in range(2):
        assert "tensorboard --logdir" in runner.run(framework, [sys.executable, "-m", package, *forked])
    assert runner._servers[framework] is not None
    (alone,) = (tmp_path / "command").glob("*/version_0")
    runs = [alone, *sorted((tmp_path / "forked").glob("*/version_*"))]
    assert len(runs) == 3
    points = [read_run(run).points for run in runs]
    figures = [
        {tag: [v.value for v in of[tag]] for tag in of if not tag.startswith(("time", "through"))} for of in points
    ]
    assert figures[0] == figures[1] == figures[2]
    # The second fork imported nothing, and counts what the import took all the same.
    assert points[2]["time/setup_seconds"][0].value > 1


def test_a_fork_that_fails_gives_its_last_line_and_the_next_one_runs(runner):
    said = runner.run(PYTORCH, [sys.executable, "-m", "cnn_mnist", "fit", "--trainer.max_epoch=3"])
    assert "did you mean --trainer.max_epochs?" in said
    assert runner.run(PYTORCH, [sys.executable, "-m", "cnn_mnist", "summary"]) != said


def test_what_no_server_has_imported_is_started_as_a_command(runner):
    assert runner.run(PYTORCH, [sys.executable, "-c", "print(1); print('the last')"]) == "the last"
    assert runner.run(PYTORCH, [sys.executable, "-c", "raise SystemExit(3)"]) == "exit code 3"
    assert runner._servers == {}


def test_a_server_that_dies_is_said_and_the_next_command_starts_another(runner):
    command = [sys.executable, "-m", "cnn_mnist", "summary"]
    said = runner.run(PYTORCH, command)
    runner._servers[PYTORCH].kill()
    died = runner.run(PYTORCH, command)
    assert died == "the server process of pytorch has died (exit code -9), and this training with it"
    assert runner.run(PYTORCH, command) == said
