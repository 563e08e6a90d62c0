import struct

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.text.summary_v2 import text_pb
from torch.utils.tensorboard import SummaryWriter

from cnn_mnist.runs import recorder
from keras_parity.logs.event_files import read_scalars
from keras_parity.logs.event_writer import margin_charts, picture, write_events
from keras_parity.logs.run import read_run
from tests.logs import foreign

_PICTURE = np.random.default_rng(0).integers(0, 255, (3, 5, 3), dtype=np.uint8)


def _write(folder, tag, points, **arguments):
    writer = SummaryWriter(folder, **arguments)
    for step, value in points:
        writer.add_scalar(tag, value, step)
    writer.close()


def _values(folder, tag="loss"):
    return [(point.step, point.value) for point in read_scalars(folder).points[tag]]


def _notes(folder):
    (note,) = read_scalars(folder).notes
    return note


def _write_number_and_picture(framework, folder):
    if framework == "pytorch":
        with SummaryWriter(folder) as writer:
            writer.add_scalar("test/acc", 0.5, 3)
            writer.add_image("seen", _PICTURE, 3, dataformats="HWC")
    else:
        with tf.summary.create_file_writer(str(folder)).as_default(3):
            tf.summary.scalar("test/acc", 0.5)
            tf.summary.image("seen", _PICTURE[None])


def _file(folder):
    (path,) = folder.glob("*tfevents*")
    return path


def _records(path):
    """Byte offset of each record."""
    data, offset, offsets = path.read_bytes(), 0, []
    while offset < len(data):
        offsets.append(offset)
        offset += 16 + struct.unpack_from("<Q", data, offset)[0]
    return offsets


def test_no_point_is_thinned(tmp_path):
    _write(tmp_path, "loss", [(step, float(step)) for step in range(12_000)])
    assert _values(tmp_path) == [(step, float(step)) for step in range(12_000)]


def test_tensorflows_tensors_are_read_as_pytorchs_values_are(tmp_path):
    import tensorflow as tf

    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        for step in range(30):
            tf.summary.scalar("loss", step / 7, step)
            tf.summary.scalar("half", tf.constant(step, tf.float64), step)
        tf.summary.text("text", "no scalar", 0)
        tf.summary.image("image", np.zeros((1, 2, 2, 3), np.uint8), 0)
        tf.summary.histogram("histogram", [1.0, 2.0], 0)
    scalars = read_scalars(tmp_path)
    assert scalars.framework == "keras"
    assert scalars.points.keys() == {"loss", "half"}
    assert _values(tmp_path) == [(step, float(np.float32(step / 7))) for step in range(30)]


@pytest.mark.parametrize("new_style", [False, True])
def test_the_first_record_names_the_framework_however_values_are_encoded(tmp_path, new_style):
    with SummaryWriter(tmp_path / "pytorch") as writer:
        writer.add_scalar("loss", 1.0, 0, new_style=new_style)
    assert read_scalars(tmp_path / "pytorch").framework == "pytorch"
    with tf.Graph().as_default(), tf.compat.v1.summary.FileWriter(str(tmp_path / "tf1")) as writer:
        value = tf.compat.v1.Summary.Value(tag="loss", simple_value=2.0)
        writer.add_summary(tf.compat.v1.Summary(value=[value]), 3)
    assert read_scalars(tmp_path / "tf1").framework == "keras"


def test_several_files_are_one_run_in_the_order_of_steps(tmp_path):
    _write(tmp_path, "loss", [(1, 1.0), (2, 2.0)], filename_suffix=".z")
    _write(tmp_path, "loss", [(3, 3.0)], filename_suffix=".a")
    assert _values(tmp_path) == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_restart_replaces_what_was_written_from_its_step_on(tmp_path):
    _write(tmp_path, "loss", [(10, 1.0), (20, 2.0), (30, 3.0)])
    _write(tmp_path, "loss", [(20, 2.5), (25, 2.75)], filename_suffix=".again", purge_step=15)
    assert _values(tmp_path) == [(10, 1.0), (20, 2.5), (25, 2.75)]


def test_of_steps_that_go_back_without_a_restart_a_run_has_the_later_ones_and_says_so(tmp_path):
    _write(tmp_path, "loss", [(10, 1.0), (20, 2.0), (30, 3.0)])
    _write(tmp_path, "loss", [(20, 2.5), (25, 2.75)], filename_suffix=".z")
    assert [step for step, _ in _values(tmp_path)] == [10, 20, 30, 20, 25]  # as TensorBoard draws them
    run = read_run(tmp_path)
    assert [(point.step, point.value) for point in run.points["loss"]] == [(10, 1.0), (20, 2.5), (25, 2.75)]
    assert f"{tmp_path}: steps of loss go back; later points replace those from that step on" in run.notes


def test_a_tensor_that_declares_more_than_it_holds_takes_no_memory(tmp_path):
    value = Summary.Value(tag="loss")
    value.tensor.dtype = 1
    value.tensor.tensor_shape.dim.add().size = 2 * 10**12
    event = Event(wall_time=1.0, step=1, summary=Summary(value=[value]))
    (tmp_path / "events.out.tfevents.1.host").write_bytes(recorder.record(event))
    assert read_scalars(tmp_path).points == {}


def test_a_bad_checksum_leaves_one_record_out_and_names_its_place(tmp_path):
    _write(tmp_path, "loss", [(1, 1.0), (2, 2.0), (3, 3.0)])
    path = _file(tmp_path)
    offset = _records(path)[2]
    content = bytearray(path.read_bytes())
    content[offset + 14] ^= 1
    path.write_bytes(content)
    assert _values(tmp_path) == [(1, 1.0), (3, 3.0)]
    assert _notes(tmp_path) == f"{path} has a record with a bad checksum at byte {offset}, which was skipped"


def test_a_bad_length_ends_the_reading_there(tmp_path):
    _write(tmp_path, "loss", [(1, 1.0), (2, 2.0), (3, 3.0)])
    path = _file(tmp_path)
    offset = _records(path)[2]
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)
    assert _values(tmp_path) == [(1, 1.0)]
    assert _notes(tmp_path) == f"{path} has a record with a bad checksum at byte {offset} and was read up to there"


@pytest.mark.parametrize("kept", [3, 11, 15, 20])
def test_a_truncated_file_is_read_as_far_as_it_goes(tmp_path, kept):
    _write(tmp_path, "loss", [(1, 1.0), (2, 2.0)])
    path = _file(tmp_path)
    offset = _records(path)[-1]
    path.write_bytes(path.read_bytes()[: offset + kept])
    assert _values(tmp_path) == [(1, 1.0)]
    assert _notes(tmp_path) == f"{path} ends inside a record at byte {offset}"


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "is empty"),
        (bytes(100), "has zeros (a power cut?) at byte 0 and was read up to there"),
        (b"these are notes, not events", "is not an event file"),
        (b"version https://git-lfs.github.com", "is a Git LFS pointer; fetch the file with git lfs pull"),
    ],
)
def test_a_file_without_events_is_one_note_and_the_others_are_read(tmp_path, content, wrong):
    _write(tmp_path, "loss", [(1, 1.0)])
    path = tmp_path / "events.out.tfevents.1.x"
    path.write_bytes(content)
    assert _values(tmp_path) == [(1, 1.0)]
    assert _notes(tmp_path) == f"{path} {wrong}"


def test_records_of_something_else_are_one_note(tmp_path):
    path = tmp_path / "events.out.tfevents.1.x"
    other = type("Other", (), {"SerializeToString": lambda _: b"\x0b\x0b"})
    path.write_bytes(recorder.record(other()))
    assert _notes(tmp_path) == f"{path} holds records that are not events"


def test_a_file_that_cannot_be_opened_is_one_note(tmp_path, monkeypatch):
    _write(tmp_path, "loss", [(1, 1.0)])

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(tmp_path), "open", refuse)
    assert _notes(tmp_path) == f"{_file(tmp_path)} cannot be read (Permission denied)"


def test_a_hidden_companion_of_a_log_is_passed_over(tmp_path):
    _write(tmp_path, "loss", [(1, 1.0)])
    (tmp_path / f"._{_file(tmp_path).name}").write_bytes(b"\x00\x05\x16\x07")
    assert _values(tmp_path) == [(1, 1.0)]
    assert read_scalars(tmp_path).notes == []


def test_tensors_that_are_no_scalar_or_picture_are_passed_over(tmp_path):
    odd, empty = Summary.Value(tag="odd"), Summary.Value(tag="empty")
    odd.tensor.dtype, odd.tensor.tensor_content = 1, b"abc"  # a float32 of three bytes
    empty.metadata.plugin_data.plugin_name = "images"
    empty.tensor.string_val.extend([b"0", b"0"])  # width and height of no pictures
    write_events(tmp_path, [Summary(value=[odd, empty])])
    assert read_scalars(tmp_path).points == {}


def test_the_checksum_is_tensorboards():
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

    assert recorder.masked_crc(b"some bytes") == masked_crc32c(b"some bytes")


def test_what_is_written_replaces_the_last_and_is_tensorboards(tmp_path):
    write_events(tmp_path, [text_pb("compare", "| old |")])
    summaries = [text_pb("compare", "| new |"), margin_charts({"both": ["test/acc"]}), picture("seen", _PICTURE)]
    write_events(tmp_path, summaries)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    (event,) = events.Tensors("compare")
    assert event.tensor_proto.string_val[0] == b"| new |"
    assert events.SummaryMetadata("compare").plugin_data.plugin_name == "text"
    assert events.SummaryMetadata("custom_scalars__config__").plugin_data.plugin_name == "custom_scalars"
    (image,) = events.Images("seen")
    assert (image.height, image.width, image.encoded_image_string[:4]) == (3, 5, b"\x89PNG")


def test_somebody_elses_event_file_in_the_folder_stays(tmp_path):
    _write(tmp_path, "loss", [(1, 1.0)])
    write_events(tmp_path, [text_pb("compare", "| old |")])
    write_events(tmp_path, [text_pb("compare", "| new |")])
    assert len(list(tmp_path.iterdir())) == 2
    assert _values(tmp_path) == [(1, 1.0)]


def test_events_are_written_with_their_steps_and_times(tmp_path):
    given = Event(step=7, wall_time=5.0, summary=Summary(value=[Summary.Value(tag="loss", simple_value=0.5)]))
    write_events(tmp_path, [text_pb("compare", "| table |")], [given])
    (points,) = read_scalars(tmp_path).points.values()
    assert [*points] == [(7, 5.0, 0.5)]


@pytest.mark.parametrize("framework", ["pytorch", "keras"])
def test_a_picture_is_passed_over_in_either_encoding(framework, tmp_path):
    _write_number_and_picture(framework, tmp_path)
    assert read_scalars(tmp_path).points.keys() == {"test/acc"}


def test_the_tenth_file_of_a_second_follows_the_ninth(tmp_path):
    for number, value in ((9, 1.0), (10, 2.0)):
        foreign.write(tmp_path, {"loss": [(number, value)]}, name=f"events.out.tfevents.1000000000.host.77.{number}")
    assert _values(tmp_path) == [(9, 1.0), (10, 2.0)]
