"""Schedules and clipping in a Lightning training, and its resume in the middle of an epoch."""

import keras
import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from cnn_mnist.errors import UserError
from cnn_mnist.pytorch.loader import Loader
from cnn_mnist.pytorch.module import Classifier
from cnn_mnist.pytorch.optimizers import clip_by_global_norm
from cnn_mnist.schedules import rate_factor
from tests.test_schedules import SCHEDULES

QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
ALL = {"constant": {}, **SCHEDULES}


class Seen(Callback):
    """The images of each batch and the rate of each update."""

    def __init__(self):
        self.images, self.rates = [], []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.images.append(batch[0][:, 0, 0, 0].tolist() if isinstance(batch, list) else batch.indices.tolist())
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


def images():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(64, 1, 28, 28, generator=generator), torch.randint(0, 10, (64,), generator=generator)


def fit(settings, folder, resumed=None, data=None, **trainer):
    """Eight batches an epoch; a checkpoint after every third update."""
    seen = Seen()
    module = Classifier(optimizer="adam", learning_rate=0.01, **settings)
    callbacks = [seen, ModelCheckpoint(dirpath=folder, every_n_train_steps=3, save_top_k=-1)]
    trainer = Trainer(**({"max_epochs": 2, "callbacks": callbacks} | QUIET | trainer))
    trainer.fit(module, Loader(*images(), batch_size=8, seed=7) if data is None else data, ckpt_path=resumed)
    return module, seen


@pytest.mark.parametrize("settings", ALL.values(), ids=ALL)
@pytest.mark.parametrize("name", ["epoch=0-step=3", "epoch=1-step=12"])
def test_a_resume_in_the_middle_of_an_epoch_is_bitwise(settings, name, tmp_path):
    trainer = {"gradient_clip_val": 0.5}
    straight, all_seen = fit(settings, tmp_path / "straight", **trainer)
    resumed, seen = fit(settings, tmp_path / "resumed", tmp_path / f"straight/{name}.ckpt", **trainer)
    done = int(name.rpartition("=")[2])
    assert seen.images == all_seen.images[done:]
    assert seen.rates == all_seen.rates[done:]
    assert all(torch.equal(value, resumed.state_dict()[key]) for key, value in straight.state_dict().items())


@pytest.mark.parametrize(
    ("trainer", "steps"),
    [
        ({}, 16),
        ({"accumulate_grad_batches": 3}, 6),
        ({"limit_train_batches": 0.5}, 8),
        ({"limit_train_batches": 3}, 6),
        ({"max_steps": 5}, 5),
        ({"max_steps": 5, "max_epochs": -1}, 5),
        ({"max_steps": 5, "max_epochs": None}, 5),
        ({"overfit_batches": 2}, 4),
    ],
)
@pytest.mark.filterwarnings("ignore:You requested to overfit")
def test_the_schedule_is_laid_over_the_updates_that_there_are(trainer, steps, tmp_path):
    settings = {"schedule": "one_cycle", "warmup": 0.3}
    stock = DataLoader(TensorDataset(*images()), batch_size=8)
    module, seen = fit(settings, tmp_path, data=stock, **trainer)
    every = trainer.get("accumulate_grad_batches", 1)
    per_epoch = -(-8 // every)
    updates = [batch // 8 * per_epoch + batch % 8 // every for batch in range(len(seen.rates))]
    expected = [0.01 * rate_factor(module.settings, update, steps) for update in updates]
    np.testing.assert_allclose(seen.rates, expected, rtol=1e-12)
    assert updates[-1] == steps - 1


class Theirs(LightningDataModule):
    def train_dataloader(self):
        return DataLoader(TensorDataset(*images()), batch_size=8)


def test_a_stock_data_module_trains_with_a_schedule(tmp_path):
    _, seen = fit({"schedule": "cosine"}, tmp_path, data=Theirs())
    assert seen.rates == pytest.approx([0.005 * (1 + np.cos(np.pi * step / 16)) for step in range(16)])


@pytest.mark.parametrize("settings", [{"schedule": "cosine"}, {"schedule": "one_cycle", "warmup": 0.3}])
def test_a_schedule_over_a_training_without_an_end_is_refused(settings, tmp_path):
    with pytest.raises(UserError, match="max_epochs: expected a training with an end"):
        fit(settings, tmp_path, max_epochs=-1)


@pytest.mark.parametrize(
    "settings",
    [{"schedule": "cosine"}, {"schedule": "one_cycle", "warmup": 0.3}, {"schedule": "step", "warmup": 0.5}],
)
def test_a_resume_that_would_lay_the_schedule_anew_is_refused(settings, tmp_path):
    fit(settings, tmp_path)
    with pytest.raises(UserError, match=r"--ckpt_path: expected schedule=.* to continue at a learning rate of"):
        fit(settings, tmp_path / "resumed", tmp_path / "epoch=0-step=6.ckpt", max_epochs=3)


def test_a_schedule_that_counts_from_the_start_goes_on_for_as_long_as_one_likes(tmp_path):
    settings = {"schedule": "step", "decay_steps": 5}
    _, straight = fit(settings, tmp_path, max_epochs=3)
    _, resumed = fit(settings, tmp_path / "resumed", tmp_path / "epoch=1-step=15.ckpt", max_epochs=3)
    assert resumed.rates == straight.rates[15:]


class Own(Classifier):
    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        return [optimizer], [{"scheduler": StepLR(optimizer, 4), "interval": "step"}]


def test_the_schedule_of_a_subclass_stays(tmp_path):
    seen = Seen()
    trainer = Trainer(max_epochs=1, callbacks=[seen], enable_checkpointing=False, **QUIET)
    trainer.fit(Own(schedule="cosine"), Loader(*images(), batch_size=8, seed=7))
    assert seen.rates == pytest.approx([1.0] * 4 + [0.1] * 4)


@pytest.mark.parametrize("limit", [0.1, 1.0, 3.0, 49.0])
def test_gradients_are_clipped_by_keras_formula(limit):
    generator = np.random.default_rng(0)
    gradients = [generator.normal(size=shape) for shape in ((3, 4), (5,))]
    parameters = [torch.nn.Parameter(torch.zeros(gradient.shape, dtype=torch.float64)) for gradient in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.from_numpy(gradient.copy())
    clip_by_global_norm([*parameters, torch.nn.Parameter(torch.zeros(1))], limit)
    optimizer = keras.optimizers.SGD(1.0, global_clipnorm=limit)
    variables = [keras.Variable(np.zeros(gradient.shape), dtype="float64") for gradient in gradients]
    optimizer.apply([keras.ops.convert_to_tensor(gradient, "float64") for gradient in gradients], variables)
    for parameter, variable in zip(parameters, variables, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), -variable.numpy(), rtol=1e-15)


@pytest.mark.parametrize(("align", "norm"), [("keras", 1e-6), ("native", 1e-6 / 2)])
def test_align_says_whether_pytorchs_small_number_is_added_to_the_norm(align, norm):
    module = Classifier(align=align)
    module.trainer = Trainer(**QUIET, enable_checkpointing=False, gradient_clip_val=1e-6)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, 0.0)
    parameter.grad[0] = 1e-6
    module.configure_gradient_clipping(optimizer, 1e-6)
    assert parameter.grad[0].item() == pytest.approx(norm)


@pytest.mark.parametrize("limit", [None, 0.0, -1.0])
def test_without_a_limit_nothing_is_clipped(limit):
    module = Classifier()
    module.trainer = Trainer(**QUIET, enable_checkpointing=False, gradient_clip_val=limit)
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, 5.0)
    module.configure_gradient_clipping(torch.optim.SGD(module.parameters(), lr=1.0), limit)
    assert parameter.grad[0] == 5
