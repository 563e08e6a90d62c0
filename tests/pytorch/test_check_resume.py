"""``check_resume`` of a Lightning training: what goes on to the bit, and faults that are known from foreign code."""

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cnn_mnist
from cnn_mnist.data import mnist
from cnn_mnist.errors import UserError
from cnn_mnist.runs.resume_check import NotResumedError


class Foreign(LightningModule):
    """A linear model with what a user may add: dropout, a cycle, batches shuffled by the loader."""

    def __init__(self, dropout: float = 0.0, cycle: bool = False):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 8), nn.Dropout(dropout), nn.Linear(8, 3))
        self.cycle = cycle

    def training_step(self, batch, place):
        """Features [batch, 4] and labels [batch]."""
        loss = nn.functional.cross_entropy(self.network(batch[0]), batch[1])
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        """SGD with momentum, and OneCycleLR over the whole training where it is asked for."""
        optimizer = torch.optim.SGD(self.parameters(), 0.1, 0.9)
        if not self.cycle:
            return optimizer
        steps = self.trainer.estimated_stepping_batches
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def loader(shuffle: bool = False):
    random = torch.Generator().manual_seed(0)
    features, labels = torch.randn(20, 4, generator=random), torch.arange(20) % 3
    return DataLoader(TensorDataset(features, labels), 4, shuffle=shuffle)


class Stateful:
    """A loader that goes on within an epoch, as torchdata's does; once it is iterated, its place is fixed."""

    def __init__(self):
        self.batches, self.place = list(loader()), 0

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        begin, self.place = self.place, 0
        for number, batch in enumerate(self.batches[begin:], begin + 1):
            self.place = number % len(self.batches)
            yield batch

    def state_dict(self):
        """How many batches of the epoch have been given."""
        return {"place": self.place}

    def load_state_dict(self, state):
        """Goes on behind them."""
        self.place = state["place"]


@pytest.fixture
def use_tiny(monkeypatch, tiny_mnist):
    monkeypatch.setattr(mnist, "load", lambda *_: tiny_mnist)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_projects_own_training_goes_on_to_the_bit_after_every_step(use_tiny, schedule):
    module = cnn_mnist.Classifier(architecture="conv5x5", schedule=schedule)
    data = cnn_mnist.MNISTDataModule(batch_size=20, shift=1)
    report = cnn_mnist.check_resume(module, data, limit_train_batches=4)
    assert (report.steps, len(report.stops)) == (8, 7)
    report.raise_if_broken()


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_projects_own_training_of_40_steps_goes_on_to_the_bit_after_every_step(use_tiny, schedule):
    module = cnn_mnist.Classifier(architecture="conv5x5", schedule=schedule)
    report = cnn_mnist.check_resume(module, cnn_mnist.MNISTDataModule(batch_size=10), limit_train_batches=20)
    print(report)
    assert (report.steps, len(report.stops)) == (40, 39)
    report.raise_if_broken()


def test_a_stop_at_the_end_of_an_epoch_of_a_plain_loader_goes_on():
    cnn_mnist.check_resume(Foreign(), loader, [5]).raise_if_broken()


def test_a_plain_loader_begins_its_epoch_again_and_the_first_difference_is_the_batch():
    report = cnn_mnist.check_resume(Foreign(), loader)
    (stop,) = [stop for stop in report.stops if stop.step == 2]
    assert (stop.at, stop.differs[0]) == (3, "the batch")
    assert "stopped after step 2: from step 3 on, the batch, " in str(report)
    with pytest.raises(NotResumedError, match="1 of 9 stops in 10 steps go on to the bit"):
        report.raise_if_broken()


def test_a_loader_that_keeps_its_place_goes_on_under_a_constant_rate():
    cnn_mnist.check_resume(Foreign(), Stateful, [2, 7]).raise_if_broken()


def test_a_cycle_over_the_estimated_steps_sets_the_loader_up_before_its_place_is_restored():
    report = cnn_mnist.check_resume(Foreign(cycle=True), Stateful, [2, 5, 7])
    assert [(stop.step, stop.at, stop.differs[:1]) for stop in report.stops] == [
        (2, 3, ("the batch",)), (5, None, ()), (7, 8, ("the batch",))
    ]  # fmt: skip


@pytest.mark.parametrize("stops", [[10], [0], [], "every"])
def test_a_stop_with_no_step_behind_it_proves_nothing_and_is_refused(stops):
    with pytest.raises(UserError, match=r'expected stops="every step", or steps from 1 to 9 of 10, got '):
        cnn_mnist.check_resume(Foreign(), loader, stops)


def test_dropout_that_draws_anew_is_named_by_the_random_state():
    report = cnn_mnist.check_resume(Foreign(dropout=0.5), loader, [5])
    assert report.stops[0].differs[:2] == ("the random state", "the weights")
