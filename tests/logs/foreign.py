"""Logs that this project did not write, or that were damaged, made without a framework: the records are the same.

``python -m tests.logs.foreign`` prints what ``compare`` says of each.
"""

import io
import itertools
import json
import os
import shutil
import struct
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.scalar.summary_v2 import scalar_pb

from cnn_mnist.errors import UserError
from cnn_mnist.runs.recorder import record
from keras_parity.compare import cli

EPOCHS = range(3)
PYTORCH_WRITER = "tensorboard.summary.writer.event_file_writer"
KERAS_WRITER = "tensorflow.core.util.events_writer"


def write(folder, points, *, tensors=False, name="events.out.tfevents.1.host", seconds=2.0, writer=None):
    """Writes ``{tag: [(step, value), ...]}`` as TensorFlow 2 (tensors) or PyTorch and tensorboardX do.

    The points of a tag lie ``seconds`` apart.
    """
    events = [Event(wall_time=1e9, file_version="brain.Event:2")]
    if writer is None:
        writer = KERAS_WRITER if tensors else PYTORCH_WRITER
    if writer:
        events[0].source_metadata.writer = writer
    for tag, values in points.items():
        for place, (step, value) in enumerate(values):
            simple = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            summary = scalar_pb(tag, np.float32(value)) if tensors else simple
            events.append(Event(wall_time=1e9 + seconds * place, step=step, summary=summary))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"".join(map(record, events)))
    return folder / name


def by_epoch(*tags, steps=1):
    """A value for each epoch of each tag, at multiples of ``steps``."""
    return {tag: [(steps * (epoch + (steps > 1)), 0.5 + epoch / 8) for epoch in EPOCHS] for tag in tags}


def keras(log, metric="accuracy"):  # stock TensorBoard callback
    for part in "train", "validation":
        more = [f"evaluation_{name}_vs_iterations" for name in ("loss", metric)] if part == "validation" else []
        epochs = by_epoch("epoch_loss", f"epoch_{metric}") | by_epoch(*more, steps=100)
        write(log / part, epochs, tensors=True)


def keras_update_freq(log):
    write(log / "train", by_epoch("batch_loss", "batch_accuracy", steps=100), tensors=True)
    write(log / "validation", by_epoch("evaluation_accuracy_vs_iterations", steps=300), tensors=True)


def lightning(log):
    tags = "train_loss_epoch", "train_acc", "val_loss", "val_acc", "epoch", "hp_metric"
    write(log / "version_0", by_epoch(*tags, steps=938) | by_epoch("train_loss_step", steps=50))


def tf_summary(log):
    for part in "train", "test":
        write(log / part, by_epoch("loss", "accuracy"), tensors=True)


def pytorch_tutorial(log):
    write(log, by_epoch("Loss/train", "Loss/test", "Accuracy/train", "Accuracy/test"))


def percent(log):
    write(log, {"test_acc": [(938, 99.1)], "train_acc": [(938, 98.0)]})


def lightning_csv(log):
    (log / "version_0").mkdir(parents=True)
    rows = ["epoch,step,train_loss,val_acc,val_loss", "0,937,0.5,,", "0,937,,0.75,0.4", "1,1875,0.25,,"]
    (log / "version_0/metrics.csv").write_text("\r\n".join([*rows, ""]))


def keras_csv(log, separator=","):
    log.mkdir()
    rows = ["epoch,accuracy,loss,val_accuracy,val_loss", "0,0.5,0.7,0.4,NA", "1,0.75,0.25,0.5,0.6", "2,0.8"]
    (log / "training.log").write_text("\r\n".join(rows).replace(",", separator))


def broken(content):
    def make(log):
        log.mkdir()
        (log / "events.out.tfevents.1.host").write_bytes(content)

    return make


def cut(log):
    path = write(log, by_epoch("train_loss"))
    path.write_bytes(path.read_bytes()[:-9])


def flipped(log):
    path = write(log, by_epoch("train_loss"))
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)


def companion(log):
    write(log, by_epoch("train_loss"))
    (log / "._events.out.tfevents.1.host").write_bytes(struct.pack(">I", 0x51607))


def linked(log):
    write(log / "run", by_epoch("train_loss"))
    (log / "run/back").symlink_to(log, target_is_directory=True)
    (log / "again").symlink_to(log / "run", target_is_directory=True)


def in_brackets(log):
    write(log / "logs[1]", by_epoch("train_loss"))


def hydra(log):
    write(log, by_epoch("train_loss"))
    (log / "config.yaml").write_text(
        "model: resnet50\ntrainer: ddp\nseed_everything: true\nlr: .inf\nday: 2024-05-01\n"
    )


def no_yaml(log):
    write(log, by_epoch("train_loss"))
    (log / "config.yaml").write_text("day: 2024-15-41\n")


def write_large(path, megabytes):
    """A log of scalars alone: the most points that a file of this size can hold."""
    size = 0
    with Path(path).open("wb") as file:
        for step in itertools.count(100_000):
            value = Summary.Value(tag=("train_loss", "train_acc")[step % 2], simple_value=0.5)
            size += file.write(record(Event(wall_time=1e9 + step, step=step, summary=Summary(value=[value]))))
            if size >= megabytes * 10**6:
                break


UNKNOWN = "settings unknown; all such runs of a framework share a column"
WALL = "times are computed from the wall times of {}, and include everything between two points"
LOSS, FIT, STEP = {"train/loss": 0.75}, {"time/fit_seconds": 6.0}, {"ms_per_step": 2000 / 938}
ALL = {f"{split}/{metric}": 0.75 for split in ("train", "val") for metric in ("loss", "acc")}
FILE = "log/events.out.tfevents.1.host"
UNSHOWN = "read but not shown: {}; {} shows them"
NONE = "read but not shown: {}; --alias=test/acc=NAME shows NAME as test/acc"

CASES = {  # name: what makes it in the folder log, what compare is given, the figures of its column, the notes on it
    "stock Keras, with validation": (
        keras, ["log"], ALL | FIT,
        [UNKNOWN, WALL.format("train/epoch_loss"),
         NONE.format("val/evaluation_accuracy_vs_iterations, val/evaluation_loss_vs_iterations")],
    ),
    "stock Keras, update_freq a number": (
        keras_update_freq, ["log"], FIT | {"ms_per_step": 20.0},
        [UNKNOWN, WALL.format("train/batch_loss"),
         UNSHOWN.format("train/batch_accuracy, train/batch_loss, val/evaluation_accuracy_vs_iterations",
                        "--alias=train/acc=train/batch_accuracy --alias=train/loss=train/batch_loss "
                        "--alias=val/acc=val/evaluation_accuracy_vs_iterations")],
    ),
    "the same, with the aliases": (
        keras_update_freq,
        ["log", "--alias=train/loss=train/batch_loss", "--alias=train/acc=train/batch_accuracy",
         "--alias=val/acc=val/evaluation_accuracy_vs_iterations"],
        {tag: 0.75 for tag in ALL if tag != "val/loss"} | FIT | {"ms_per_step": 20.0},
        [UNKNOWN, WALL.format("train/batch_loss")],
    ),
    "stock Keras, sparse accuracy": (
        lambda log: keras(log, "sparse_categorical_accuracy"), ["log"],
        {"train/loss": 0.75, "val/loss": 0.75} | FIT,
        [UNKNOWN, WALL.format("train/epoch_loss"),
         UNSHOWN.format("train/epoch_sparse_categorical_accuracy, val/epoch_sparse_categorical_accuracy, "
                        "val/evaluation_loss_vs_iterations, "
                        "val/evaluation_sparse_categorical_accuracy_vs_iterations",
                        "--alias=train/acc=train/epoch_sparse_categorical_accuracy "
                        "--alias=val/acc=val/epoch_sparse_categorical_accuracy")],
    ),
    "its training part alone": (
        keras, ["log/train"], {"train/loss": 0.75, "train/acc": 0.75} | FIT, [UNKNOWN, WALL.format("train/epoch_loss")],
    ),
    "stock Lightning": (
        lightning, ["log"], ALL | FIT | STEP,
        [UNKNOWN, WALL.format("train_loss_epoch"), NONE.format("train_loss_step")],
    ),
    "Lightning's CSVLogger": (
        lightning_csv, ["log"], {"train/loss": 0.25, "val/acc": 0.75, "val/loss": 0.4}, [UNKNOWN],
    ),
    "Keras's CSVLogger": (
        keras_csv, ["log"], {"train/acc": 0.75, "train/loss": 0.25, "val/acc": 0.5, "val/loss": 0.6},
        ["log/training.log ends inside line 4, which is left out", UNKNOWN],
    ),
    "the same, with semicolons": (
        lambda log: keras_csv(log, ";"), ["log/training.log"],
        {"train/acc": 0.75, "train/loss": 0.25, "val/acc": 0.5, "val/loss": 0.6},
        ["log/training.log ends inside line 4, which is left out", UNKNOWN],
    ),
    "tf.summary, folders train and test": (
        tf_summary, ["log"], {"train/loss": 0.75, "train/acc": 0.75, "test/loss": 0.75, "test/acc": 0.75} | FIT,
        [UNKNOWN, WALL.format("train/loss")],
    ),
    "tensorboardX, data/ tags": (
        lambda log: write(log, by_epoch("data/train_loss", "data/lr", steps=938), writer=""), ["log"], FIT | STEP,
        [UNKNOWN, WALL.format("data/train_loss"),
         UNSHOWN.format("data/lr, data/train_loss", "--alias=train/loss=data/train_loss")],
    ),
    "tags of PyTorch's tutorial": (
        pytorch_tutorial, ["log"], FIT,
        [UNKNOWN, WALL.format("Loss/train"),
         UNSHOWN.format("Accuracy/test, Accuracy/train, Loss/test, Loss/train",
                        "--alias=test/acc=Accuracy/test --alias=test/loss=Loss/test "
                        "--alias=train/acc=Accuracy/train --alias=train/loss=Loss/train")],
    ),
    "tags that say nothing": (
        lambda log: write(log, by_epoch(*(f"layer_{n}" for n in range(9)))), ["log"], FIT,
        [UNKNOWN, WALL.format("layer_0"),
         NONE.format("layer_0, layer_1, layer_2, layer_3, layer_4, layer_5 and 3 more")],
    ),
    "percent": (
        percent, ["log"], {"train/acc": 98.0, "test/acc": 99.1},
        [UNKNOWN, "train/acc, test/acc over 1 (percent?); accuracies should be fractions in [0, 1]"],
    ),
    "a ._ companion": (companion, ["log"], LOSS | FIT, [UNKNOWN, WALL.format("train_loss")]),
    "a pointer of Git LFS": (
        broken(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"), ["log"], None,
        [f"{FILE} is a Git LFS pointer; fetch the file with git lfs pull"],
    ),
    "zeros": (
        broken(bytes(4096)), ["log"], None,
        [f"{FILE} has zeros (a power cut?) at byte 0 and was read up to there"],
    ),
    "an empty event file": (broken(b""), ["log"], None, [f"{FILE} is empty"]),
    "text in place of events": (broken(b"nothing of the kind"), ["log"], None, [f"{FILE} is not an event file"]),
    "a file of notes, named": (
        broken(b"nothing of the kind"), [FILE], None, [f"{FILE} is not an event file"],
    ),
    "cut off inside a record": (
        cut, ["log"], {"train/loss": 0.625, "time/fit_seconds": 4.0},
        [f"{FILE} ends inside a record at byte 182", UNKNOWN, WALL.format("train_loss")],
    ),
    "a flipped bit": (
        flipped, ["log"], {"train/loss": 0.625, "time/fit_seconds": 4.0},
        [f"{FILE} has a record with a bad checksum at byte 182, which was skipped", UNKNOWN, WALL.format("train_loss")],
    ),
    "records without scalars": (lambda log: write(log, {}), ["log"], None, ["log has no scalars"]),
    "a folder logs[1]": (in_brackets, ["log/logs[1]"], LOSS | FIT, [UNKNOWN, WALL.format("train_loss")]),
    "~": (in_brackets, ["~/log"], LOSS | FIT, [UNKNOWN, WALL.format("train_loss")]),
    "symbolic links, one in a circle": (linked, ["log"], LOSS | FIT, [UNKNOWN, WALL.format("train_loss")]),
    "a config.yaml of hydra": (hydra, ["log"], LOSS | FIT, [WALL.format("train_loss")]),
    "a config.yaml that is none": (
        no_yaml, ["log"], LOSS | FIT,
        ["log/config.yaml is no plain YAML of settings; it is left out", UNKNOWN, WALL.format("train_loss")],
    ),
}  # fmt: skip


def main():
    """Prints the table: what was compared, the rows that it has, what was said."""
    home = Path(tempfile.mkdtemp())
    os.environ["HOME"] = str(home)
    os.chdir(home)
    print("| log | rows shown | said |\n| --- | --- | --- |")
    for name, (make, arguments, _, _) in CASES.items():
        shutil.rmtree("log", ignore_errors=True)
        make(Path("log"))
        rows, said = "none", ""
        try:
            with redirect_stdout(io.StringIO()) as out:
                cli.main([*arguments, "--format=json"])
            content = json.loads(out.getvalue())
            rows = ", ".join(content["tables"][0]["columns"][0]["cells"])
            said = "; ".join(note for note in content["notes"] if "among these" not in note)
        except UserError as error:
            said = f"error: {error}"
        print(f"| {name} | {rows} | {said} |")


if __name__ == "__main__":
    main()
