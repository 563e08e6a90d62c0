"""Files that appear whole or not at all."""

import io
import os
import random
import shutil
import subprocess
import sys
import zipfile

import pytest
import torch

from cnn_mnist.errors import UserError, UserNotice
from cnn_mnist.pytorch.checkpoints import read_checkpoint
from cnn_mnist.runs.files import atomic_write, atomic_write_text, lock_folder, remove_leftovers, zip_is_intact
from cnn_mnist.runs.folder import find_checkpoint
from cnn_mnist.runs.mistakes import read_mistakes, write_mistakes
from tests.conftest import PROJECT


def test_a_file_appears_at_once_and_nothing_stays_beside_it(tmp_path):
    with atomic_write(tmp_path / "a b[1].txt") as aside:
        aside.write_text("half")
        assert not (tmp_path / "a b[1].txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a b[1].txt"]


def test_a_failed_writing_leaves_what_was_there(tmp_path):
    atomic_write_text(tmp_path / "kept.txt", "old")
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "kept.txt") as aside:
        aside.write_text(f"half {1 / 0}")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("kept.txt", "old")]


def test_only_what_a_killed_writing_left_is_removed(tmp_path):
    with atomic_write(tmp_path / "a.ckpt") as aside:
        aside.write_text("whole")
        shutil.copytree(aside.parent, tmp_path / "left")
        left = aside.parent.name
    (tmp_path / "left").rename(tmp_path / left)
    (tmp_path / ".DS_Store").touch()
    for name in (".git", ".a.ckpt.notes", ".a.ckpt.abcdefgh"):  # the last holds a user's file
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").touch()
    remove_leftovers(tmp_path)
    kept = {".DS_Store", ".git", ".a.ckpt.notes", ".a.ckpt.abcdefgh", "a.ckpt"}
    assert {path.name for path in tmp_path.iterdir()} == kept


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("No space left on device")])
def test_a_full_disk_is_one_line(tmp_path, error):
    with pytest.raises(UserError, match=r"got .*new\.txt \(No space left on device\); free some space"):  # noqa: SIM117
        with atomic_write(tmp_path / "new.txt"):
            raise error
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_gone_is_one_line(tmp_path):
    with pytest.raises(UserError, match="No such file or directory"):
        atomic_write_text(tmp_path / "gone/new.txt", "")


def test_a_link_is_followed_and_the_umask_holds(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    before = os.umask(0o027)
    try:
        atomic_write_text(tmp_path / "link.txt", "new")
    finally:
        os.umask(before)
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"
    assert (tmp_path / "real.txt").stat().st_mode & 0o777 == 0o640


def test_mistakes_are_whole_or_not_there(tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.setattr("cnn_mnist.runs.files._sync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(UserError, match="No space left"):
        write_mistakes(tmp_path, np.array([1, 2], np.uint8), np.array([1, 3]))
    assert read_mistakes(tmp_path) is None


def _checkpoint(path):
    torch.save({"state_dict": {"w": torch.arange(5000.0)}, "hyper_parameters": {}}, path)
    return path.read_bytes()


def test_each_flipped_bit_of_a_weight_is_found(tmp_path):
    content = _checkpoint(tmp_path / "a.ckpt")
    assert zip_is_intact(tmp_path / "a.ckpt")
    start = content.index(torch.arange(5000.0).numpy().tobytes()[:400])
    generator = random.Random(0)
    for _ in range(50):
        flipped = bytearray(content)
        flipped[start + generator.randrange(20_000)] ^= 1 << generator.randrange(8)
        (tmp_path / "b.ckpt").write_bytes(flipped)
        with pytest.raises(UserError, match="or damaged"):
            read_checkpoint(tmp_path / "b.ckpt")


def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before_with_a_notice(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    older, newer = (tmp_path / f"checkpoints/epoch={n}-step={n}.ckpt" for n in (1, 2))
    content = _checkpoint(older)
    os.utime(older, (1, 1))
    newer.write_bytes(content[:-300])
    with pytest.warns(UserNotice, match=r"epoch=2-step=2\.ckpt is damaged; using the one before it, epoch=1"):
        assert find_checkpoint(tmp_path, "pytorch") == older
    older.unlink()
    assert find_checkpoint(tmp_path, "pytorch") == newer  # whose reader says what is wrong


def test_of_two_checkpoints_in_one_tick_of_the_clock_the_later_step_is_the_newer(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for step in (8, 10):
        _checkpoint(tmp_path / f"checkpoints/epoch=0-step={step}.ckpt")
        os.utime(tmp_path / f"checkpoints/epoch=0-step={step}.ckpt", (1, 1))
    assert find_checkpoint(tmp_path, "pytorch").name == "epoch=0-step=10.ckpt"


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"text", bytes(1000)])
def test_what_is_no_archive_is_not_whole(tmp_path, content):
    (tmp_path / "a.keras").write_bytes(content)
    assert zip_is_intact(tmp_path / "a.keras") == zipfile.is_zipfile(io.BytesIO(content))
    assert not zip_is_intact(tmp_path / "none.keras")


def test_a_folder_is_held_by_one_and_then_free_again(tmp_path):
    for _ in range(2):
        with lock_folder(tmp_path):  # noqa: SIM117
            with pytest.raises(UserError, match="in which another training or study runs"), lock_folder(tmp_path):
                pass


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = f"""
import time
from cnn_mnist.runs.files import lock_folder
with lock_folder({str(tmp_path)!r}):
    print(flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"\n"
        with pytest.raises(UserError, match="in which another training or study runs"), lock_folder(tmp_path):
            pass
        process.kill()
    with lock_folder(tmp_path):
        pass
