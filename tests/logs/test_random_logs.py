"""Random logs: every scalar equals what TensorBoard's own reader, or pandas, gives."""

import csv
import io
import random
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.util.tensor_util import make_ndarray

from cnn_mnist.runs.recorder import record
from keras_parity import find_folders, read_run
from keras_parity.logs.csv_files import read_csv
from keras_parity.logs.event_files import read_scalars
from tests.logs.foreign import KERAS_WRITER, PYTORCH_WRITER

TAGS = ("train/loss", "test/acc", "loss", "epoch_accuracy", "lr")

NESTED = (
    *(["."], ["train", "val"], ["train", "validation"], ["train", "eval", "test"]),
    *([".", "1732900000.5"], [".", "loss_train", "loss_val"], [".", "deep/train"]),
)
"""Folders of event files that are one run."""


def write_random_files(folder: Path, draw: random.Random) -> str:
    """Writes one to four event files with restarts, purges, steps that go back, NaN; gives the first writer.

    ``EventAccumulator`` purges no tensors, so logs with restarts have none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first, restarts = "", draw.random() < 0.6
    for number in range(draw.randint(1, 4)):
        writer = draw.choice([KERAS_WRITER, PYTORCH_WRITER])
        first = first or writer
        version = draw.choice(["brain.Event:2"] * 4 + ["brain.Event:1"]) if restarts else "brain.Event:2"
        head = Event(wall_time=1e9 + number, file_version=version)
        head.source_metadata.writer = writer
        events, step = [head], draw.randint(0, 30)
        if restarts and draw.random() < 0.6:
            events += [Event(wall_time=1e9, step=step, session_log=SessionLog(status=SessionLog.START))]
        for place in range(draw.randint(0, 12)):
            tag, value = draw.choice(TAGS), draw.choice([draw.gauss(0, 1), float("nan"), float("inf"), 0.0])
            tensor = not restarts and draw.random() < 0.5
            summary = scalar_pb(tag, np.float32(value)) if tensor else None
            simple = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            events.append(Event(wall_time=1e9 + place, step=step, summary=summary or simple))
            step += draw.choice([0, 1, 1, 5, -3])
            step = max(step, 0)
        name = f"events.out.tfevents.{1_000_000_000 + number}.host.{draw.randint(1, 9)}.{number}"
        (folder / name).write_bytes(b"".join(map(record, events)))
    return first


def by_tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Steps and values of each tag; of a tag in both encodings, those of both."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    for tag in events.Tags()["tensors"]:
        tensors = [(e.step, float(make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)]
        found[tag] = found.get(tag, []) + tensors
    return {tag: values for tag, values in found.items() if values}


def _sorted(values):
    return sorted((step, str(np.float32(value))) for step, value in values)


@pytest.mark.parametrize("seeds", [range(100), pytest.param(range(100, 1000), marks=pytest.mark.slow)], ids=str)
def test_every_scalar_is_tensorboards(tmp_path, seeds):
    for seed in seeds:
        folder = tmp_path / str(seed)
        writer = write_random_files(folder, random.Random(seed))
        scalars = read_scalars(folder)
        mine = {tag: [(point.step, point.value) for point in points] for tag, points in scalars.points.items()}
        wanted = by_tensorboard(folder)
        assert {tag: _sorted(values) for tag, values in mine.items()} == {
            tag: _sorted(values) for tag, values in wanted.items()
        }, seed
        assert scalars.framework == ("keras" if writer == KERAS_WRITER else "pytorch"), seed


@pytest.mark.parametrize("seeds", [range(30), pytest.param(range(30, 300), marks=pytest.mark.slow)], ids=str)
def test_runs_are_counted_however_their_parts_are_nested(tmp_path, seeds, monkeypatch):
    for seed in seeds:
        draw, root, count = random.Random(seed), tmp_path / str(seed), 0
        for run in range(draw.randint(1, 4)):
            count += 1
            home = root / f"group_{draw.randint(0, 1)}" / f"net_{run}"
            parts = draw.choice(NESTED)
            for part in parts:
                while not read_scalars(home / part).points:
                    write_random_files(home / part, draw)
        assert len(find_folders([str(root)])) == count, seed
        monkeypatch.chdir(root)
        assert len(find_folders(["**"])) == len(find_folders(["**/*"])) == count, seed


def test_parts_of_a_run_are_its_splits(tmp_path):
    from tests.logs.foreign import write

    write(tmp_path / "a", {"train/loss": [(1, 0.5)], "test/acc": [(1, 0.9)]})
    write(tmp_path / "a/loss_val", {"loss": [(1, 0.6)]})
    write(tmp_path / "a/1732900000.5", {"test/acc": [(0, 0.9)], "hp/f1": [(0, 0.8)]})
    run = read_run(tmp_path / "a")
    assert {tag: run.last(tag) for tag in ("train/loss", "val/loss", "test/acc", "hp/f1")} == {
        "train/loss": 0.5, "val/loss": pytest.approx(0.6), "test/acc": pytest.approx(0.9), "hp/f1": pytest.approx(0.8),
    }  # fmt: skip
    assert [point.step for point in run.points["test/acc"]] == [1]


@pytest.mark.parametrize("seeds", [range(100), pytest.param(range(100, 1000), marks=pytest.mark.slow)], ids=str)
def test_every_cell_of_a_csv_log_is_as_written(tmp_path, seeds):
    for seed in seeds:
        draw, out = random.Random(seed), io.StringIO()
        separator = draw.choice(",,;\t")
        columns = ["step", *draw.sample(["epoch", "train_loss", "val_acc", "lr", "test_acc"], draw.randint(1, 5))]
        draw.shuffle(columns)
        writer = csv.writer(out, delimiter=separator, quoting=draw.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
        writer.writerow(columns)
        wanted: dict[str, list[tuple[int, float]]] = {}
        for step in range(draw.randint(0, 20)):
            row = {name: draw.choice([draw.gauss(0, 1), "", "nan"]) for name in columns} | {"step": step}
            writer.writerow([row[name] for name in columns])
            for name in set(columns) - {"step", "epoch"}:
                if row[name] != "":
                    wanted.setdefault(name, []).append((step, str(float(row[name]))))
        path = tmp_path / f"{seed}.csv"
        path.write_text(out.getvalue())
        found = {
            tag: [(point.step, str(point.value)) for point in points] for tag, points in read_csv(path).points.items()
        }
        assert found == wanted, seed


def test_a_csv_log_that_goes_on_with_other_columns_is_followed_or_refused(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train_loss\n0,9,0.5\nepoch,lr,step,train_loss\n1,0.001,19,0.25\n")
    points = read_csv(path).points
    assert [(point.step, point.value) for point in points["train_loss"]] == [(9, 0.5), (19, 0.25)]
    path.write_text("epoch,step,train_loss\n0,9,0.5\n1,0.001,19,0.25\n")
    scalars = read_csv(path)
    assert [point.value for point in scalars.points["train_loss"]] == [0.5]
    assert scalars.notes == [f"{path} has 4 cells in line 3 under a header of 3, and is read to there"]
