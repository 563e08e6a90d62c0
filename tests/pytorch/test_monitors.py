"""Lightning's own early stopping and best checkpoint on this project's tags."""

import json

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from cnn_mnist import Classifier, MNISTDataModule
from cnn_mnist.errors import UserError

pytestmark = pytest.mark.usefixtures("use_tiny_mnist")

QUIET = ("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu")
BEST = {"monitor": "val/acc", "mode": "max", "filename": "{epoch}-{val/acc:.3f}"}


def flag(name, **settings):
    return f"--trainer.callbacks+={json.dumps({'class_path': name, 'init_args': settings})}"


@pytest.mark.parametrize("monitor", ["val/loss", "train/loss"])
def test_early_stopping_ends_a_fit_that_gets_no_better(command, tmp_path, monitor):
    stop = flag("EarlyStopping", monitor=monitor, patience=1, min_delta=100)
    code, _, err = command("cnn_mnist", "fit", *QUIET, "--data.val_size=50", stop)
    assert (code, err) == (0, "")
    assert list(tmp_path.rglob("epoch=1-step=8.ckpt"))


def test_the_best_checkpoint_lies_flat_under_the_tag(command, tmp_path):
    code, _, err = command(
        "cnn_mnist", "fit", *QUIET, "--data.val_size=50", "--trainer.max_epochs=2", flag("ModelCheckpoint", **BEST)
    )
    assert (code, err) == (0, "")
    (file,) = tmp_path.rglob("*.ckpt")
    assert file.parent.name == "checkpoints"
    best = next(iter(torch.load(file, weights_only=True)["callbacks"].values()))["best_model_score"]
    assert file.name.endswith(f"-val_acc={best:.3f}.ckpt")


@pytest.mark.parametrize(
    ("monitor", "size", "message"),
    [
        ("val/loss", 0, "EarlyStopping: expected a monitor of train/loss"),
        ("val/loss", 0, "--data.val_size over 0"),
        ("val_loss", 50, "did you mean val/loss?"),
        ("loss", 50, "expected a monitor of"),
        ("test/acc", 50, "expected a monitor of"),
    ],
)
def test_a_metric_that_is_not_there_is_one_line_and_leaves_nothing(command, tmp_path, monitor, size, message):
    code, out, err = command(
        "cnn_mnist", "fit", *QUIET, f"--data.val_size={size}", flag("EarlyStopping", monitor=monitor)
    )
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert message in err
    assert not list(tmp_path.iterdir())


def test_in_python_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = Trainer(max_epochs=1, accelerator="cpu", callbacks=[ModelCheckpoint(monitor="val/acc")])
    with pytest.raises(UserError, match="ModelCheckpoint: expected a monitor of train/loss"):
        trainer.fit(Classifier(), MNISTDataModule())


class Theirs(Callback):
    def on_validation_end(self, trainer, module):
        trainer.callback_metrics["theirs"] = torch.tensor(1.0)


def test_a_metric_of_somebody_elses_callback_can_be_monitored(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    callbacks = [
        Theirs(),
        EarlyStopping("theirs", patience=1),
        ModelCheckpoint(filename="{step}-{theirs}", monitor="theirs"),
    ]
    trainer = Trainer(max_epochs=5, accelerator="cpu", logger=False, callbacks=callbacks, enable_progress_bar=False)
    trainer.fit(Classifier(), MNISTDataModule(val_size=50))
    assert trainer.current_epoch == 2
    assert [path.name for path in tmp_path.rglob("*.ckpt")] == ["step=4-theirs=1.0.ckpt"]
