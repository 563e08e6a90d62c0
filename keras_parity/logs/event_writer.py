"""Writes TensorBoard's records without a framework: what a comparison shows there, and runs without their pictures."""

import io
import os
import time
from collections.abc import Sequence
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import metadata
from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MultilineChartContent

from cnn_mnist.runs.pictures import Picture
from keras_parity.logs.event_files import PATTERN, is_picture, read_events, record

_STRING = 7  # DT_STRING


def write_events(folder: str | Path, summaries: Sequence[Summary]) -> None:
    """Makes the folder hold one event file with these summaries at step 0, in place of any that it held."""
    folder, now = Path(folder), time.time()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(PATTERN):
        old.unlink()
    events = [Event(wall_time=now, file_version="brain.Event:2")]
    events += [Event(wall_time=now, summary=summary) for summary in summaries]
    (folder / f"events.out.tfevents.{int(now)}.compare").write_bytes(b"".join(map(record, events)))


def text_page(tag: str, markdown: str) -> Summary:
    """A text for TensorBoard's text tab."""
    return _strings(tag, "text", markdown.encode())


def picture(tag: str, pixels: Picture) -> Summary:
    """A picture, uint8 [height, width, 3]."""
    from PIL import Image

    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    height, width, _ = pixels.shape
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=png.getvalue())
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def charts(title: str, tags: Sequence[str]) -> Summary:
    """A page of custom scalars with one chart for each tag, over all runs that have it."""
    drawn = [Chart(title=tag, multiline=MultilineChartContent(tag=[f"^{tag}$"])) for tag in tags]
    layout = Layout(category=[Category(title=title, chart=drawn)])
    return _strings(metadata.CONFIG_SUMMARY_TAG, metadata.PLUGIN_NAME, layout.SerializeToString())


def drop_pictures(folder: Path) -> None:
    """Writes the event files of a run folder anew without their pictures, each atomically."""
    for path in folder.glob(PATTERN):
        events = list(read_events(path))
        for event in events:
            kept = [value for value in event.summary.value if not is_picture(value)]
            if len(kept) < len(event.summary.value):
                event.summary.CopyFrom(Summary(value=kept))
        temporary = folder / f"temporary.{path.name.rpartition('.')[2]}"
        temporary.write_bytes(b"".join(map(record, events)))
        os.replace(temporary, path)


def _strings(tag: str, plugin: str, content: bytes) -> Summary:
    value = Summary.Value(tag=tag)
    value.metadata.plugin_data.plugin_name = plugin
    value.tensor.dtype = _STRING
    value.tensor.tensor_shape.dim.add(size=1)
    value.tensor.string_val.append(content)
    return Summary(value=[value])
