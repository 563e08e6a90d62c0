"""Limits of what a file may declare, each lowered so that a small file is over it; and content of other kinds."""

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from cnn_mnist.data import npz
from cnn_mnist.data.digits import files
from cnn_mnist.data.digits.read import read_digits
from cnn_mnist.errors import UserError, UserNotice
from keras_parity.convert.pytorch_files import read_ckpt
from keras_parity.convert.state_dicts import read_state_dict
from keras_parity.logs import csv_files, event_files, points
from keras_parity.logs.csv_files import read_csv
from keras_parity.logs.event_files import read_scalars
from keras_parity.settings import twin_settings
from tests.faults.readers import NET, write_whole_files


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write_whole_files(folder)
    return folder


@pytest.mark.parametrize(
    ("module", "limit", "note"),
    [(points, "MOST_POINTS", "has more than 5 points"), (event_files, "MOST_TAGS", "has more than 5 tags")],
)
def test_a_log_of_too_many_points_or_tags_is_read_to_there(tmp_path, monkeypatch, module, limit, note):
    with SummaryWriter(tmp_path) as writer:
        for number in range(9):
            writer.add_scalar(f"tag{number}", 0.5, 1)
    monkeypatch.setattr(module, limit, 5)
    found = read_scalars(tmp_path)
    assert 5 <= len(found.points) <= 6
    assert [note in line for line in found.notes] == [True]


def test_a_long_record_is_skipped_and_named(tmp_path, monkeypatch):
    with SummaryWriter(tmp_path) as writer:
        writer.add_scalar("before", 0.5, 1)
        writer.add_text("long", "x" * 5000)
        writer.add_scalar("after", 0.5, 1)
    monkeypatch.setattr(event_files, "_LONGEST", 4000)
    found = read_scalars(tmp_path)
    assert found.points.keys() == {"before", "after"}
    assert "has a record of 5,0" in found.notes[0]
    assert "which was skipped" in found.notes[0]


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        (["nan,0.5"], "has the step nan in line 3, and is read to there"),
        (["1e999,0.5"], "has the step inf in line 3, and is read to there"),
        (["2," + "0" * 300], "is read to where it is damaged (a row has 200 characters or more)"),
        (['2,"' + '\n"",' * 100 + '"'], "is read to where it is damaged (a row has 200 characters or more)"),
    ],
)
def test_a_csv_log_is_read_to_what_is_no_step_or_too_long(tmp_path, monkeypatch, lines, note):
    monkeypatch.setattr(csv_files, "_LONGEST", 200)
    (tmp_path / "metrics.csv").write_text("\n".join(["step,loss", "1,0.25", *lines, "9,0.1", ""]))
    found = read_csv(tmp_path / "metrics.csv")
    assert [(point.step, point.value) for point in found.points["loss"]] == [(1, 0.25)]
    assert found.notes == [f"{tmp_path / 'metrics.csv'} {note}"]


@pytest.mark.filterwarnings("ignore::cnn_mnist.errors.UserNotice")
def test_arrays_of_too_many_bytes_or_images_are_refused(whole, monkeypatch):
    monkeypatch.setattr(npz, "_MOST_PACKED", 2_000)
    with np.load(whole / "data.npz") as arrays:
        np.savez_compressed(whole / "packed.npz", **arrays)
    npz.load(whole / "data.npz")  # as large as what it holds
    with pytest.raises(UserError, match=r"got [\d,]+ bytes of them in a file of [\d,]+"):
        npz.load(whole / "packed.npz")
    monkeypatch.setattr(npz, "MOST_IMAGES", 39)
    with pytest.raises(UserError, match=r"expected at most 39 entries of x_train, got 40"):
        npz.load(whole / "data.npz")


@pytest.mark.parametrize("ending", ["tif", "gif"])
def test_pages_of_too_many_pixels_together_are_read_to_there(whole, monkeypatch, ending):
    with Image.open(whole / f"pages.{ending}") as opened:
        monkeypatch.setattr(files, "MOST_PIXELS_OF_ALL", 2 * opened.width * opened.height)
    path = whole / f"pages.{ending}"
    with pytest.warns(UserNotice, match=rf"pages.{ending}\[2\]: expected at most .* in all pages, got more; split"):
        found = read_digits([path])
    assert found.files == [f"{path}[0]", f"{path}[1]"]
    assert found.unreadable == [f"{path}[2]"]


KINDS = {
    "complex": (torch.Tensor.cfloat, "sparse, quantized, complex or meta"),
    "meta": (lambda tensor: tensor.to("meta"), "sparse, quantized, complex or meta"),
    "sparse": (lambda tensor: tensor.to_sparse() if tensor.ndim else tensor, "sparse, quantized, complex or meta"),
    "int": (torch.Tensor.int, "expected floating-point weights, got conv1.weight as int32"),
    "bool": (torch.Tensor.bool, "expected floating-point weights, got conv1.weight as bool"),
    "negative view": (torch._neg_view, ""),
    "trained": (lambda tensor: torch.nn.Parameter(tensor) if tensor.is_floating_point() else tensor, ""),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["run.ckpt", "weights.pt", "legacy.pt"])
def test_tensors_of_every_kind_are_read_as_they_are_or_refused(whole, tmp_path, name, kind):
    change, message = KINDS[kind]
    read = read_ckpt if name == "run.ckpt" else lambda path: read_state_dict(path, NET)
    saved = torch.load(whole / name, weights_only=True)
    holder, key = (saved, "state_dict") if name == "run.ckpt" else ({"state_dict": saved}, "state_dict")
    holder[key] = {weight: change(tensor) for weight, tensor in holder[key].items()}
    torch.save(saved if name == "run.ckpt" else holder[key], tmp_path / name,
               _use_new_zipfile_serialization=name != "legacy.pt")  # fmt: skip
    if message:
        with pytest.raises(UserError, match=message):
            read(tmp_path / name)
        return
    sign = -1 if kind == "negative view" else 1
    before = read(whole / name)[0].weights
    for weight, array in read(tmp_path / name)[0].weights.items():
        np.testing.assert_array_equal(array, sign * before[weight])


@pytest.mark.parametrize("group", ["model", "data", "trainer"])
def test_the_twin_of_a_run_with_edited_settings_is_refused(tmp_path, group):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"model": {}, "data": {}, "trainer": {}} | {group: "mine"}))
    with pytest.raises(UserError, match=r"expected the folder of a Lightning run with its config\.yaml"):
        twin_settings(tmp_path)
