"""A fit that is stopped goes on as if it had not been."""

import os
import signal

import pytest
import yaml

from cnn_mnist.data import mnist
from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.checkpoint_callback import ResumableCheckpoint
from cnn_mnist.pytorch.module import Classifier
from tests.lives import NET, QUIET, check_killed_in_its_evaluation, check_more_epochs, check_same, mortal

pytestmark = pytest.mark.usefixtures("use_tiny_mnist")


@pytest.fixture
def fit(command, tmp_path, monkeypatch):
    """Runs ``fit``; one that is to be killed dies at that many steps."""
    (tmp_path / "net.yaml").write_text(NET)
    steps = lambda callback, trainer, *_: trainer.global_step  # noqa: E731
    return mortal(command, monkeypatch, ("cnn_mnist", "fit"), ResumableCheckpoint, steps)


@pytest.fixture
def straight(train):
    """A training that nothing stops."""
    return lambda *flags: train("cnn_mnist", "fit", *flags)


CASES = [
    (),
    ("--model.optimizer=adam", "--model.schedule=cosine", "--data.val_size=50", "--trainer.precision=64-true"),
    ("--model.optimizer=sgd", "--model.momentum=0.9", "--model.schedule=one_cycle", "--model.warmup=0.3"),
]


@pytest.mark.parametrize("flags", CASES)
@pytest.mark.parametrize("every", [0, 3, 1])
def test_a_killed_run_goes_on_to_the_bit(fit, straight, tmp_path, flags, every):
    runs = tmp_path / "lightning_logs/pytorch"
    straight(*QUIET, *flags)
    fit(*QUIET, *flags, f"--checkpoint_every={every}", die=7)
    fit("--resume=last")
    check_same(runs / "version_0", runs / "version_1")


@pytest.mark.parametrize("die", [1, 4, 5, 6, 10, 13, 15])
def test_a_run_that_is_killed_anywhere_goes_on(fit, straight, tmp_path, die):
    runs = tmp_path / "lightning_logs/pytorch"
    flags = ("--model.optimizer=adamw", "--model.align=native", "--data.shift=2")
    straight(*QUIET, *flags)
    fit(*QUIET, *flags, "--checkpoint_every=2", die=die)
    fit("--resume=lightning_logs/pytorch/version_1")
    check_same(runs / "version_0", runs / "version_1")


def test_a_run_that_is_killed_again_and_again_goes_on(fit, straight, command, tmp_path, monkeypatch):
    runs = tmp_path / "lightning_logs/pytorch"
    straight(*QUIET)
    fit(*QUIET, "--checkpoint_every=1", die=2)
    for die in (3, 4, 5, 9):
        fit("--resume=last", die=die)
    fit("--resume=last")
    check_same(runs / "version_0", runs / "version_1")


def test_a_run_that_is_killed_in_its_evaluation_is_finished_by_resume(fit, tmp_path, monkeypatch):
    runs = tmp_path / "lightning_logs/pytorch"
    check_killed_in_its_evaluation(fit, runs, monkeypatch, Classifier, "test_step")


def test_a_finished_run_says_so_and_nothing_is_written(fit, straight, tmp_path):
    straight(*QUIET)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    _, out, _ = fit("--resume=last")
    assert "version_0 is finished; to train longer, add --trainer.max_epochs over 3" in out
    assert "test set, final weights" in out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_more_epochs_go_on_in_the_same_folder_as_if_they_had_been_asked_for(fit, straight, tmp_path):
    check_more_epochs(fit, straight, tmp_path / "lightning_logs/pytorch")


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(fit, straight, tmp_path):
    runs = tmp_path / "lightning_logs/pytorch"
    straight(*QUIET)
    fit(*QUIET, die=12)
    newest = runs / "version_1/checkpoints/epoch=1-step=10.ckpt"
    newest.write_bytes(newest.read_bytes()[:-1000])
    _, _, err = fit("--resume=last")
    assert err.count("epoch=1-step=10.ckpt is damaged; using the one before it, epoch=0-step=5.ckpt") == 1
    check_same(runs / "version_0", runs / "version_1")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--resume=none"], "--resume: expected a run folder of pytorch with its config.yaml, got"),
        (["--resume=keras/version_0"], "--resume: expected a run folder of pytorch with its config.yaml, got"),
        (["--resume=last", "--model.rho=0.5"], "got --model.rho=0.5; omit it"),
        (["--resume=last", "--trainer.max_epochs=2"], "expected more than the 3 of"),
        (["--resume=last", "--trainer.max_epochs=5"], "because the schedule of"),
    ],
)
def test_what_cannot_go_on_is_refused_in_a_line_and_nothing_is_lost(fit, straight, tmp_path, flags, message):
    straight(*QUIET, "--model.schedule=cosine")
    (tmp_path / "keras/version_0").mkdir(parents=True)
    (tmp_path / "keras/version_0/config.yaml").write_text("trainer: {log_dir: x}")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    _, _, err = fit(*flags, code=1)
    assert message in err
    assert err.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_resume_deletes_nothing_that_the_trainer_did_not_write(fit, straight, tmp_path):
    runs = tmp_path / "lightning_logs/pytorch"
    straight(*QUIET)
    fit(*QUIET, die=7)
    checkpoints = runs / "version_1/checkpoints"
    (checkpoints / ".DS_Store").touch()
    (checkpoints / ".git").mkdir()
    (checkpoints / ".git/mine").touch()
    fit("--resume=last")
    assert (checkpoints / ".DS_Store").exists()
    assert (checkpoints / ".git/mine").exists()


@pytest.mark.parametrize(
    ("trainer", "flags", "message"),
    [
        ({"max_epochs": None}, ["--trainer.max_epochs=9"], "has no limit of epochs, got 9; omit the flag"),
        ({"max_epochs": -1, "max_steps": 99}, ["--trainer.max_epochs=9"], "has no limit of epochs, got 9"),
        (
            {"logger": [{"class_path": "a.CSVLogger"}, {"class_path": "b.RunLogger"}]},
            [],
            "with CSVLogger and RunLogger",
        ),
        ({"logger": {"class_path": "lightning.pytorch.loggers.CSVLogger"}}, [], "got lightning_logs"),
        ({"logger": False}, [], "with False; continue in a new folder with --ckpt_path"),
        ({"accelerator": "gpu"}, [], "--trainer"),
        ({"max_epochs": 3}, ["--data.data_dir=net.yaml/no"], "data_dir"),
    ],
)
def test_a_resume_that_is_refused_changes_nothing(fit, straight, tmp_path, monkeypatch, trainer, flags, message):
    straight(*QUIET)
    run = tmp_path / "lightning_logs/pytorch/version_0"
    (run / "results.yaml").unlink()
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"trainer": config["trainer"] | trainer}))
    if flags[:1] == ["--data.data_dir=net.yaml/no"]:
        monkeypatch.setattr(mnist, "load_mnist", _refuse)
    held = lambda: {path: path.read_bytes() for path in tmp_path.rglob("[!.]*") if path.is_file()}  # noqa: E731
    before = held()
    _, _, err = fit("--resume=last", *flags, code=1)
    assert message in err
    assert err.count("\n") == 1
    assert held() == before


def _refuse(data_dir, dataset):
    raise UserError(f"data_dir: expected a folder, got {data_dir}")


@pytest.mark.parametrize(
    ("logger", "message"), [("false", "got no logger; omit it"), ("CSVLogger", "got CSVLogger; omit it")]
)
def test_checkpoints_within_an_epoch_need_a_log_to_resume(fit, logger, message):
    _, _, err = fit(*QUIET, f"--trainer.logger={logger}", "--checkpoint_every=2", code=1)
    assert message in err
    assert err.count("\n") == 1


def test_last_without_a_run_is_one_line(fit):
    assert "expected a run in lightning_logs/pytorch, got none" in fit("--resume=last", code=1)[2]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("where", ["training_step", "validation_step", "test_step"])
def test_a_signal_ends_the_step_keeps_it_and_says_how_to_go_on(
    fit, straight, tmp_path, monkeypatch, number, code, where
):
    runs = tmp_path / "lightning_logs/pytorch"
    flags = (*QUIET, "--data.val_size=50")
    straight(*flags)
    usual = [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        own, at = getattr(Classifier, where), {"training_step": 5, "validation_step": 4, "test_step": 12}[where]

        def step(self, *args, **more):
            if self.trainer.global_step == at:
                os.kill(os.getpid(), number)
            return own(self, *args, **more)

        patch.setattr(Classifier, where, step)
        patch.setattr(signal, "SIG_IGN", signal.default_int_handler)  # Lightning leaves it for the whole process
        _, _, err = fit(*flags, code=code)
    steps = {"training_step": 6, "validation_step": 4, "test_step": 12}[where]
    run = "lightning_logs/pytorch/version_1"
    assert err.splitlines()[-1] == (
        f"python -m cnn_mnist: interrupted at step {steps}; resume with: python -m cnn_mnist fit --resume={run}"
    )
    assert list((tmp_path / run / "checkpoints").glob(f"*step={steps}.ckpt"))
    assert [signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)] == usual
    fit("--resume=last")
    check_same(runs / "version_0", runs / "version_1")


def test_a_second_signal_stops_at_once(fit, monkeypatch):
    def twice(self, *args):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError

    monkeypatch.setattr(Classifier, "training_step", twice)
    monkeypatch.setattr(signal, "SIG_IGN", signal.default_int_handler)
    assert "interrupted at step 0" in fit(*QUIET, code=143)[2]
