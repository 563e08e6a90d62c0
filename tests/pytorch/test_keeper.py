"""A fit that is stopped goes on as if it had not been."""

import itertools
import os
import signal

import pytest
import torch
import yaml

from cnn_mnist.console import resume
from cnn_mnist.pytorch import keeper
from cnn_mnist.runs.mistakes import FILE
from keras_parity.logs.event_files import read_scalars

pytestmark = pytest.mark.usefixtures("use_tiny_mnist")

QUIET = (
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu"),
    *("--trainer.log_every_n_steps=2", "--trainer.max_epochs=3", "--data.batch_size=50"),
)
TIMES = ("time/", "throughput/")


class Killed(BaseException):
    """Stands for a process that ends here and now."""


def left_by(folder):
    """What a run holds: its weights and optimizer, points but for times, and mistakes."""
    (file,) = (folder / "checkpoints").iterdir()
    checkpoint = torch.load(file, weights_only=True)
    log = read_scalars(folder).points
    points = {tag: [(p.step, p.value) for p in points] for tag, points in log.items() if not tag.startswith(TIMES)}
    times = {tag: [p.step for p in points] for tag, points in log.items() if tag.startswith(TIMES)}
    return file.name, checkpoint, points, times, (folder / FILE).read_text(), sorted(path.name for path in folder.iterdir()
        if "tfevents" not in path.name)  # fmt: skip


def same(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(itertools.starmap(same, zip(one, other, strict=True)))
    return one == other


def check_same(straight, resumed):
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step", "sums"):
        assert same(straight[1][key], resumed[1][key]), key
    assert (straight[0], *straight[2:]) == (resumed[0], *resumed[2:])


@pytest.fixture
def fit(command, tmp_path, monkeypatch):
    """Runs ``fit``; one that is to be killed dies at that many steps."""

    def run(*flags, die=None, code=0):
        with monkeypatch.context() as patch:
            if die is not None:
                own = keeper.Keeper.on_train_batch_end

                def end(self, trainer, *args):
                    own(self, trainer, *args)
                    if trainer.global_step == die:
                        raise Killed

                patch.setattr(keeper.Keeper, "on_train_batch_end", end)
                with pytest.raises(Killed):
                    command("cnn_mnist", "fit", *flags)
                return None
            answer = command("cnn_mnist", "fit", *flags)
        assert answer[0] == code, answer[2]
        return answer

    return run


CASES = [
    (),
    ("--model.optimizer=adam", "--model.schedule=cosine", "--data.val_size=50"),
    ("--model.optimizer=sgd", "--model.momentum=0.9", "--model.schedule=one_cycle", "--model.warmup=0.3"),
]


@pytest.mark.parametrize("flags", CASES)
@pytest.mark.parametrize("every", [0, 3, 1])
def test_a_killed_run_goes_on_to_the_bit(fit, tmp_path, flags, every):
    runs = tmp_path / "lightning_logs/pytorch"
    fit(*QUIET, *flags)
    fit(*QUIET, *flags, f"--checkpoint_every={every}", die=7)
    fit("--resume=last")
    check_same(left_by(runs / "version_0"), left_by(runs / "version_1"))
