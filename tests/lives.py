"""A short training, and what it leaves in its folder, for the tests that one which was stopped leaves the same."""

import itertools
import zipfile

import h5py
import numpy as np
import torch

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


def check_same(straight, resumed):
    """Two run folders hold the same to the bit."""
    one, other = left_by(straight), left_by(resumed)
    for key, value in one[0].items():
        assert same(value, other[0][key]), key
    assert one[1:] == other[1:]
