"""CSV logs of any hand: each cell is a point, or it is named with what is wrong with it."""

import pytest

from keras_parity import find_folders
from keras_parity.logs.csv_files import read_csv


@pytest.fixture
def read(tmp_path):
    """Reads lines as a CSV file; gives the last value of each tag, and the notes without the path."""

    def made(text, encoding="utf-8"):
        path = tmp_path / "log.csv"
        path.write_text(text, encoding=encoding)
        scalars = read_csv(path)
        notes = [note.removeprefix(str(path)) for note in scalars.notes]
        return {tag: points[-1].value for tag, points in scalars.points.items()}, notes

    return made


LATER = "the figure shown is of line 2 (was it NaN later?)"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("epoch,val_accuracy,val_loss,accuracy\n0,.9,.4,.9\n1,.95,,.95\n", "val_loss {}, where accuracy goes on"),
        ("epoch,loss,val_loss,val_acc\n0,.9,.4,.9\n1,.8,,\n2,.7,,\n", "val_loss, val_acc {}, where loss goes on"),
        ("epoch,loss\n0,.9\n1,\n", "loss {}, where epoch goes on"),
        ("step,a_loss,b_loss\n0,.9,.4\n9,.95,\n", "b_loss {}, where a_loss goes on"),
    ],
)
def test_a_metric_that_ends_before_those_it_went_with_is_said(read, text, said):
    assert read(text)[1] == [f": {said.format('has no number after line 2')}; {LATER}"]
    assert read(text.replace(",\n", ",nan\n").replace(",,", ",nan,"))[1] == []


@pytest.mark.parametrize(
    "rows",
    [
        ["epoch,step,train_loss,val_acc,val_loss", "0,49,0.7,,", "0,99,0.5,,", "0,99,,0.75,0.4", "1,149,0.25,,"],
        ["epoch,step,train_loss,val_loss", "0,9,,0.4", "0,9,0.5,", "1,19,,0.3", "1,19,0.25,", "2,29,,0.2"],
        ["epoch,loss,val_loss", "0,0.7,NA", "1,0.5,0.6", "2,0.4,NA"],
        ["epoch,step,lr,train_loss,test_acc", "0,9,0.1,,", "0,9,,0.5,", "1,19,0.1,,", "1,19,,0.4,", "1,19,,,0.9"],
    ],
    ids=["Lightning", "validation first", "validation_freq=2", "rates and a test"],
)
def test_cells_that_are_empty_in_the_rhythm_of_their_metric_are_not_said(read, rows):
    assert read("\n".join([*rows, ""]))[1] == []


@pytest.mark.parametrize(
    ("cells", "kept", "said"),
    [
        (("50%", "90%"), None, "read but not shown, as no plain numbers such as 0.5: acc (50% in line 2)"),
        (("0,5", "0,9"), None, "read but not shown, as no plain numbers such as 0.5: acc (0,5 in line 2)"),
        (("good", "bad"), None, "read but not shown, as no plain numbers such as 0.5: acc (good in line 2)"),
        (("0.5", "N/A"), 0.5, "cells left out, as no plain numbers such as 0.5: acc (N/A in line 3)"),
    ],
)
def test_cells_that_are_no_numbers_are_said(read, cells, kept, said):
    last, notes = read(f"epoch;acc;loss\n0;{cells[0]};0.5\n1;{cells[1]};0.4\n")
    assert last == {"train_loss": 0.4} | ({} if kept is None else {"train_acc": kept})
    ended = [f": acc has no number after line 2, where loss goes on; {LATER}"]
    assert notes == [f": {said}", *ended * (kept is not None)]


def test_a_line_without_a_step_is_said(read):
    last, notes = read("epoch,loss\n0,0.5\n,0.4\n")
    assert last == {"train_loss": 0.5}
    assert notes == [": lines left out, as no plain numbers such as 0.5: epoch (nothing in line 3)"]


def test_a_column_without_a_name_is_left_out_and_said(read):
    last, notes = read(",epoch,loss\n0,0,0.5\n1,1,0.4\n")
    assert last == {"train_loss": 0.4}
    assert notes == [": column 1 has no name (the index of pandas?) and is left out"]
    assert read("epoch,loss,\n0,0.5,\n1,0.4,\n")[1] == []


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_file_that_names_its_encoding_is_read(read, tmp_path, encoding):
    assert read("epoch,loss\r\n0,0.5\r\n1,0.4\r\n", encoding) == ({"train_loss": 0.4}, [])
    assert find_folders([str(tmp_path)]) == [tmp_path / "log.csv"]
    assert read("epoch,loss,val_loss\n0,0.5,1\n1,0.4\n", encoding)[0] == {"train_loss": 0.4, "val_loss": 1}
    assert "ends inside line 3" in read("epoch,loss,val_loss\n0,0.5,1\n1,0.4", encoding)[1][0]


@pytest.mark.parametrize("named", ["log", "log/metrics.csv", "log/*"])
@pytest.mark.parametrize("columns", ["accuracy,loss", "x,y"])
def test_a_csv_file_without_steps_is_named_with_its_columns(command, tmp_path, named, columns):
    (tmp_path / "log").mkdir()
    (tmp_path / "log/metrics.csv").write_text(f"{columns}\n0.5,0.4\n")
    code, out, err = command("keras_parity", "compare", named)
    assert (code, out) == (1, "")
    assert err == (
        "python -m keras_parity: error: expected runs with scalars, found none (log/metrics.csv has no column step or "
        f"epoch, but {columns.replace(',', ', ')}); mend these, or name others\n"
    )


def test_a_csv_file_of_metrics_without_steps_beside_logs_is_said(command, tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "log/a.csv").write_text("epoch,val_loss\n0,0.5\n")
    (tmp_path / "log/b.csv").write_text("iteration,val_loss\n0,0.5\n")
    (tmp_path / "log/mistakes.csv").write_text("image,label\n0,5\n")
    code, out, err = command("keras_parity", "compare", "log", "--format=markdown")
    assert (code, err) == (0, "")
    assert "log/b.csv has no column step or epoch, but iteration, val_loss" in out.replace("\\", "")
    assert "mistakes" not in out


def test_a_column_that_stands_twice_is_said(read):
    last, notes = read("epoch,loss,loss\n0,0.5,0.7\n")
    assert last == {"train_loss": 0.7}
    assert notes == [": loss appears twice in line 1; the last such column is read"]


def test_a_log_whose_cells_are_all_text_is_no_reason_to_train(command, tmp_path):
    (tmp_path / "log.csv").write_text("epoch;loss\n0;0,5\n")
    code, out, err = command("keras_parity", "compare", "log.csv")
    assert (code, out) == (1, "")
    assert err == (
        "python -m keras_parity: error: expected runs with scalars, found none (log.csv: read but not shown, as no "
        "plain numbers such as 0.5: loss (0,5 in line 2)); mend these, or name others\n"
    )


@pytest.mark.parametrize("named", [".", "log.csv"])
def test_a_csv_file_that_cannot_be_opened_is_said(command, tmp_path, monkeypatch, named):
    (tmp_path / "log.csv").write_text("epoch,loss\n0,0.5\n")
    usual = type(tmp_path).open

    def refuse(self, *arguments, **more):
        if self.name == "log.csv":
            raise PermissionError(13, "Permission denied")
        return usual(self, *arguments, **more)

    monkeypatch.setattr(type(tmp_path), "open", refuse)
    assert (
        "found none (log.csv cannot be read (Permission denied)); mend" in command("keras_parity", "compare", named)[2]
    )
