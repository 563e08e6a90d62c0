"""A training of the twin that is stopped goes on as if it had not been; the rules are those of ``fit``."""

import os
import signal

import keras
import pytest

from keras_parity.twin import train
from keras_parity.twin.keeper import Keeper
from tests.lives import NET, QUIET, Killed, check_killed_in_its_evaluation, check_more_epochs, check_same, mortal

pytestmark = pytest.mark.usefixtures("use_tiny_mnist")


@pytest.fixture
def fit(command, tmp_path, monkeypatch):
    """Trains the twin; one that is to be killed dies behind that many steps."""
    (tmp_path / "net.yaml").write_text(NET)
    return mortal(command, monkeypatch, ("keras_parity",), Keeper, lambda keeper, *_: keeper.epochs.step)


@pytest.fixture
def straight(train):
    """A training that nothing stops."""
    return lambda *flags: train("keras_parity", *flags)


CASES = [
    ("--data.shift=2",),
    ("--model.optimizer=adam", "--model.schedule=cosine", "--data.val_size=50"),
    ("--model.optimizer=sgd", "--model.momentum=0.9", "--model.schedule=one_cycle", "--model.warmup=0.3"),
    ("--model.optimizer=adamw", "--model.label_smoothing=0.1", "--trainer.precision=64-true"),
]


@pytest.mark.parametrize("flags", CASES)
def test_a_killed_run_goes_on_to_the_bit(fit, straight, tmp_path, flags):
    runs = tmp_path / "lightning_logs/keras"
    every = "--checkpoint_every=3"  # steps of one execution divide it
    straight(*QUIET, *flags, every)
    fit(*QUIET, *flags, every, die=2)
    for die in (6, 8, 11):  # before the first checkpoint, with one, behind one, and behind an epoch's end
        fit("--resume=last", die=die)
    fit("--resume=last")
    check_same(runs / "version_0", runs / "version_1")


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_run_of_40_steps_goes_on_to_the_bit_after_every_step(fit, tmp_path, schedule):
    runs, flags = tmp_path / "lightning_logs/keras", (*QUIET, f"--model.schedule={schedule}", "--data.batch_size=10")
    flags = (*flags, "--trainer.max_epochs=2", "--trainer.limit_train_batches=20", "--checkpoint_every=1")
    fit(*flags)
    for step in range(1, 40):
        fit(*flags, die=step)
        fit("--resume=last")
        check_same(runs / "version_0", runs / f"version_{step}")


def test_a_run_that_is_killed_while_it_writes_keeps_the_checkpoint_before(fit, straight, tmp_path, monkeypatch):
    runs = tmp_path / "lightning_logs/keras"
    straight(*QUIET)
    with monkeypatch.context() as patch:
        own = keras.Sequential.save

        def half(self, path):
            if "step=10" in str(path):
                path.write_bytes(b"half")
                raise Killed
            own(self, path)

        patch.setattr(keras.Sequential, "save", half)
        with pytest.raises(Killed):
            fit(*QUIET)
    assert [path.name for path in (runs / "version_1/checkpoints").iterdir()] == ["epoch=0-step=5.keras"]
    fit("--resume=last")
    check_same(runs / "version_0", runs / "version_1")


def test_a_run_that_is_killed_in_its_evaluation_is_finished_by_resume(fit, tmp_path, monkeypatch):
    check_killed_in_its_evaluation(fit, tmp_path / "lightning_logs/keras", monkeypatch, train, "softmax")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert "version_1 is finished; to train longer, add --trainer.max_epochs over 3" in fit("--resume=last")[1]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_more_epochs_go_on_in_the_same_folder_as_if_they_had_been_asked_for(fit, straight, tmp_path):
    check_more_epochs(fit, straight, tmp_path / "lightning_logs/keras")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--resume=none"], "--resume: expected a run folder of keras with its config.yaml, got"),
        (["--resume=last", "--model.rho=0.5"], "got --model.rho=0.5; omit it"),
        (["--resume=last", "--trainer.max_epochs=5"], "because the schedule of"),
    ],
)
def test_what_cannot_go_on_is_refused_in_a_line_and_nothing_is_lost(fit, straight, tmp_path, flags, message):
    straight(*QUIET, "--model.schedule=cosine", "--trainer.max_epochs=1")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    _, _, err = fit(*flags, code=1)
    assert message in err
    assert err.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_step_keeps_it_and_says_how_to_go_on(fit, straight, tmp_path, monkeypatch, number, code):
    runs = tmp_path / "lightning_logs/keras"
    straight(*QUIET)
    usual = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    for step, where in (9, "on_train_batch_begin"), (15, "on_test_begin"):
        with monkeypatch.context() as patch:
            own = getattr(train.ProgressBar, where, lambda *_: None)

            def hook(self, *args, step=step, own=own, **more):
                if int(self.model.optimizer.iterations.numpy()) >= step - 2 and not getattr(self, "sent", False):
                    self.sent = True
                    os.kill(os.getpid(), number)
                own(self, *args, **more)

            patch.setattr(train.ProgressBar, where, hook)
            _, _, err = fit(*QUIET, code=code)
        version = len(list(runs.iterdir())) - 1
        run = f"lightning_logs/keras/version_{version}"
        assert err.splitlines()[-1] == (
            f"python -m keras_parity: interrupted at step {step}; resume with: python -m keras_parity --resume={run}"
        )
        assert list((tmp_path / run / "checkpoints").glob(f"*step={step}.keras"))
        assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == usual
        fit("--resume=last")
        check_same(runs / "version_0", tmp_path / run)
