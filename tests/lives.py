"""A short training, and what it leaves in its folder, for the tests that one which was stopped leaves the same."""

import itertools
import zipfile

import h5py
import numpy as np
import pytest
import torch
import yaml

from cnn_mnist.runs.mistakes import FILE
from keras_parity.logs.event_files import read_scalars

TIMES = ("time/", "throughput/")
QUIET = (
    *("--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false", "--trainer.accelerator=cpu"),
    *("--trainer.log_every_n_steps=2", "--trainer.max_epochs=3", "--data.batch_size=50"),
    "--model.architecture=net.yaml",
)
NET = """
- Conv2D: {filters: 4, kernel_size: 3, activation: relu}
- BatchNormalization
- Flatten
- Dropout: 0.3
- Dense: 10
"""


class Killed(BaseException):
    """Stands for a process that ends here and now."""


def left_by(folder):
    """What a run holds: its files, points, steps of times, mistakes, and all that its checkpoint does but for times."""
    (file,) = (folder / "checkpoints").iterdir()
    log = read_scalars(folder).points
    points = {tag: [(p.step, p.value) for p in points] for tag, points in log.items() if not tag.startswith(TIMES)}
    times = {tag: [p.step for p in points] for tag, points in log.items() if tag.startswith(TIMES)}
    files = sorted(path.name for path in folder.iterdir() if "tfevents" not in path.name)
    return held_by(file), file.name, points, times, (folder / FILE).read_text(), files


def held_by(file):
    if file.suffix == ".ckpt":
        checkpoint = torch.load(file, weights_only=True)
        kept = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "global_step", "sums", "random")
        return {key: checkpoint[key] for key in kept}
    arrays = {}
    with zipfile.ZipFile(file) as archive, archive.open("model.weights.h5") as member, h5py.File(member) as weights:
        names = list[str]()
        weights.visit(names.append)
        arrays |= {name: weights[name][()] for name in names if isinstance(weights[name], h5py.Dataset)}
    return arrays


def same(one, other):
    if isinstance(one, torch.Tensor | np.ndarray | np.generic):
        return bool((torch.as_tensor(one) == torch.as_tensor(other)).all())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(itertools.starmap(same, zip(one, other, strict=True)))
    return one == other


def mortal(command, monkeypatch, words, kind, steps_of):
    """A function that trains by a command; a training that is to be killed dies behind that many steps.

    ``kind`` is the callback that saves checkpoints, and ``steps_of`` the steps done, by the arguments of its hook.
    """

    def run(*flags, die=None, code=0):
        with monkeypatch.context() as patch:
            if die is not None:
                own = kind.on_train_batch_end

                def end(self, *args, **more):
                    own(self, *args, **more)
                    if steps_of(self, *args) >= die:
                        raise Killed

                patch.setattr(kind, "on_train_batch_end", end)
                with pytest.raises(Killed):
                    command(*words, *flags)
                return None
            answer = command(*words, *flags)
        assert answer[0] == code, answer[2]
        return answer

    return run


def check_killed_in_its_evaluation(fit, runs, monkeypatch, owner, name):
    """A run that is killed where ``owner.name`` is called in its evaluation is finished by ``--resume``."""
    _, straight, _ = fit(*QUIET)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            fit(*QUIET)
    _, resumed, _ = fit("--resume=last")
    check_same(runs / "version_0", runs / "version_1")
    lines = [[line for line in out.splitlines() if "│" in line] for out in (straight, resumed)]
    assert lines[0] == lines[1]


def check_more_epochs(fit, straight, runs):
    """More epochs go on in the same folder as if they had been asked for."""
    straight(*QUIET)
    straight(*QUIET, "--trainer.max_epochs=1")
    fit("--resume=last", "--trainer.max_epochs=3")
    check_same(runs / "version_0", runs / "version_1")
    assert yaml.safe_load((runs / "version_1/config.yaml").read_text())["trainer"]["max_epochs"] == 3


def check_same(straight, resumed):
    """Two run folders hold the same to the bit."""
    one, other = left_by(straight), left_by(resumed)
    for key, value in one[0].items():
        assert same(value, other[0][key]), key
    assert one[1:] == other[1:]
