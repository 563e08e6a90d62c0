"""The event file of a run."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cnn_mnist.runs.recorder import Recorder
from keras_parity.logs.event_files import read_scalars


def test_all_that_is_recorded_is_read_by_tensorboard(tmp_path):
    recorder = Recorder(tmp_path)
    recorder.add_scalar("train/loss", 0.5, 3)
    recorder.add_text("model/layers", "| a |", 0)
    recorder.add_image("visual/examples", np.zeros((4, 6, 3), np.uint8), 0)
    recorder.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(point.step, point.value) for point in events.Scalars("train/loss")] == [(3, 0.5)]
    assert events.Tensors("model/layers/text_summary")[0].tensor_proto.string_val == [b"| a |"]
    (image,) = events.Images("visual/examples")
    assert (image.height, image.width) == (4, 6)


def test_each_record_is_there_at_once(tmp_path):
    recorder = Recorder(tmp_path)
    for step in range(3):
        recorder.add_scalar("a", float(step), step)
        assert [point.step for point in read_scalars(tmp_path).points["a"]] == list(range(step + 1))


def test_two_of_one_process_have_files_of_their_own(tmp_path):
    for step in range(2):
        Recorder(tmp_path).add_scalar("a", 1.0, step)
    assert len(list(tmp_path.iterdir())) == 2
    assert [point.step for point in read_scalars(tmp_path).points["a"]] == [0, 1]


def test_a_full_disk_or_a_removed_folder_is_an_error_where_it_happens(tmp_path):
    recorder = Recorder(tmp_path / "run")
    recorder._path.unlink()
    recorder._path.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        recorder.add_scalar("a", 1.0, 0)
    (tmp_path / "run").rename(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        recorder.add_scalar("a", 1.0, 0)
