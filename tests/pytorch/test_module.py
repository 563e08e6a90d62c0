"""The module and the data module in Python, without the command line."""

import inspect
import re
from pathlib import Path

import pytest
import torch
import yaml
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from cnn_mnist import Classifier, MNISTDataModule
from cnn_mnist.errors import UserError
from keras_parity import read_run
from tests import scalars

pytestmark = pytest.mark.usefixtures("use_tiny_mnist")


@pytest.fixture
def trainer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Trainer(max_epochs=2, accelerator="cpu", log_every_n_steps=2)


def test_a_batch_is_images_and_labels_without_a_trainer():
    images, labels = next(iter(MNISTDataModule().train_dataloader()))
    assert images.shape == (64, 1, 28, 28)
    assert labels.dtype == torch.int64
    images, labels = next(iter(MNISTDataModule().test_dataloader()))
    assert labels.tolist() == [i % 10 for i in range(70)]


def test_the_signatures_show_fields_types_and_defaults():
    assert str(inspect.signature(Classifier).parameters["learning_rate"]) == "learning_rate: float = 0.001"
    assert str(inspect.signature(MNISTDataModule).parameters["batch_size"]) == "batch_size: int = 64"


@pytest.mark.parametrize(("name", "meant"), [("lr", "learning_rate"), ("momentun", "momentum"), ("alpha", "rho")])
def test_an_unknown_setting_is_refused_with_the_nearest(name, meant):
    with pytest.raises(UserError, match=f"got {name}; did you mean {meant}?"):
        Classifier(**{name: 0.01})


def test_a_training_in_python_is_a_whole_run(trainer, capsys, tmp_path):
    model, data = Classifier(optimizer="adam", seed=3), MNISTDataModule(batch_size=50, seed=3)
    trainer.fit(model, data)
    (figures, _) = trainer.test(model, data)
    out = capsys.readouterr().out
    run = read_run(trainer.log_dir)
    assert run.folder == tmp_path / "lightning_logs/pytorch/version_0"
    assert (run.framework, run.seed, run.finished) == ("pytorch", 3, True)
    assert (run.settings["model.optimizer"], run.settings["trainer.max_epochs"]) == ("adam", 2)
    tags = scalars.read(run.folder)
    assert figures["test/acc"] == pytest.approx(tags["test/acc"][0][1])
    assert [step for step, _ in tags["test/acc"]] == [10]
    assert "epoch" not in tags
    assert "conv 32@3x3" in out
    assert "Tip" not in out
    assert "DataLoader" not in out  # Lightning's table repeats each figure for each loader
    assert len(re.findall(rf"test set, final weights +{figures['test/loss']:.4f}", out)) == 1


def test_it_is_the_experiment_that_the_command_line_trains(trainer, command):
    model, data = Classifier(), MNISTDataModule()
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    command("cnn_mnist", "fit", "--trainer.max_epochs=2", "--trainer.accelerator=cpu")
    ours, theirs = (read_run(f"lightning_logs/pytorch/version_{n}") for n in range(2))
    assert ours.settings == theirs.settings
    assert ours.last("test/loss") == theirs.last("test/loss")


def test_validate_gives_its_figures_and_leaves_no_folder(trainer, tmp_path):
    (figures,) = trainer.validate(Classifier(), MNISTDataModule(val_size=50))
    assert figures.keys() == {"val/loss", "val/acc", "step"}
    assert not list(tmp_path.rglob("version_*"))


def test_a_logger_that_the_user_chose_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = Trainer(max_epochs=1, accelerator="cpu", logger=TensorBoardLogger("mine", "name"))
    trainer.fit(Classifier(), MNISTDataModule())
    assert trainer.log_dir == "mine/name/version_0"


def test_loaders_alone_train_and_test_without_a_data_module(trainer):
    model, data = Classifier(), MNISTDataModule()
    trainer.fit(model, data.train_dataloader())
    (figures,) = trainer.test(model, data.test_dataloader())
    assert scalars.read(trainer.log_dir)["test/acc"][0][1] == pytest.approx(figures["test/acc"])


class _Theirs(LightningDataModule):
    def __init__(self, loader):
        super().__init__()
        self.train_dataloader = self.test_dataloader = lambda: loader


@pytest.mark.parametrize("what", ["loader", "data module"])
def test_pairs_of_a_stock_loader_train_and_test_as_ours_do(trainer, what):
    ours = MNISTDataModule(batch_size=50)
    batches = [tuple(batch) for batch in ours.train_dataloader()]
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    stock = DataLoader(TensorDataset(images, labels), batch_size=50)
    data = stock if what == "loader" else _Theirs(stock)
    model = Classifier()
    trainer.fit(model, data)
    (figures,) = trainer.test(model, data)
    assert scalars.read(trainer.log_dir)["test/acc"][0][1] == pytest.approx(figures["test/acc"])
    assert scalars.read(trainer.log_dir)["throughput/images_per_second"]


class _Stream(IterableDataset):
    """Images and labels without a length."""

    def __iter__(self):
        images, labels = next(iter(MNISTDataModule(batch_size=50).train_dataloader()))
        yield from zip(images, labels, strict=True)


def test_a_stream_without_a_length_trains_and_evaluates(trainer, capsys):
    model, stream = Classifier(), DataLoader(_Stream(), batch_size=20)
    trainer.fit(model, stream, stream)
    assert trainer.global_step == 6
    assert re.findall(r"epoch (\d)/2 .* (\d+)/\S+", capsys.readouterr().out) == [("1", "3"), ("2", "3")]


def test_model_and_data_may_have_seeds_of_their_own_and_the_run_says_both(trainer):
    trainer.fit(Classifier(seed=1), MNISTDataModule())
    config = yaml.safe_load(Path(trainer.log_dir, "config.yaml").read_text())
    assert (config["seed_everything"], config["data"]["seed"]) == (1, 0)


def test_within_an_epoch_the_running_mean_is_logged_every_so_many_steps(trainer):
    trainer.fit(Classifier(), MNISTDataModule(batch_size=50))
    points = scalars.read(trainer.log_dir)["train/loss"]
    assert [step for step, _ in points] == [2, 4, 5, 7, 9, 10]
    assert len({value for _, value in points}) == 6


class Refused(Classifier):
    def on_train_start(self):
        raise UserError("no such training")


RUNS = Path("lightning_logs/pytorch")


def test_a_refused_fit_leaves_no_run_and_the_same_trainer_can_fit_again(trainer):
    with pytest.raises(UserError, match="no such training"):
        trainer.fit(Refused(), MNISTDataModule())
    assert not list(RUNS.iterdir())
    trainer.fit(Classifier(), MNISTDataModule())
    assert [run.name for run in RUNS.iterdir()] == ["version_0"]


def test_a_refused_fit_leaves_the_run_that_its_trainer_made_before(trainer):
    trainer.fit(Classifier(), MNISTDataModule())
    before = {path: path.read_bytes() for path in RUNS.rglob("*") if path.is_file()}
    trainer.fit_loop.max_epochs = 3
    with pytest.raises(UserError, match="no such training"):
        trainer.fit(Refused(), MNISTDataModule())
    assert {path: path.read_bytes() for path in before} == before
